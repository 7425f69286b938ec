"""One training in a process of its own, so that its peak memory is its own: `python -m benchmarks` calls it.

    python -m benchmarks.loops ours 640

Prints the raw measurement and the peak memory as JSON, on its last line.
"""

import argparse
import json
import os
import resource
import tempfile
from functools import partial
from pathlib import Path

import torch
import transformers
from accelerate.utils import set_seed

from helpers import assets, data, energy, training

COUNTRY = "USA"
BATCH_SIZE, LEARNING_RATE, WARMUP_SHARE = 32, 1e-4, 0.1


def ours(model, rows, tokenizer) -> None:
    """Our loop; like the others it validates on a single row."""
    training.fine_tune(
        model,
        rows,
        rows.select([0]),
        tokenizer,
        epochs=1,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        warmup_share=WARMUP_SHARE,
    )


def trainer(model, rows, tokenizer) -> None:
    """Transformers' Trainer at the settings of our loop."""
    collate = transformers.DataCollatorWithPadding(tokenizer)
    _train(model, rows, collate, LEARNING_RATE, WARMUP_SHARE, "group_by_length", training.best_precision())


def run_glue(model, rows, tokenizer) -> None:
    """Trainer as its text-classification example uses it: everything padded to 128, 2e-5, any order, fp32."""
    collate = transformers.DataCollatorWithPadding(tokenizer, padding="max_length", max_length=128)
    _train(model, rows, collate, 2e-5, 0.0, "random", "no")


def _train(model, rows, collate, rate, warmup_share, sampling, precision) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = transformers.TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=rate,
            warmup_steps=int(warmup_share * -(-len(rows) // BATCH_SIZE)),
            train_sampling_strategy=sampling,
            bf16=precision == "bf16",
            report_to="none",
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        rows = rows.select_columns(["input_ids", "label"])
        sets = {"train_dataset": rows, "eval_dataset": rows.select([0])}
        transformers.Trainer(model, settings, data_collator=collate, **sets).train()


def peak_bytes() -> int:
    """The most memory that this process has had. Linux's `ru_maxrss` would count its parent's too."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS gives bytes


LOOPS = {"ours": ours, "trainer": trainer, "run_glue": run_glue}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("loop", choices=LOOPS)
    parser.add_argument("rows", type=int)
    asked = parser.parse_args()
    os.environ["COURSE_STATIC"] = "1"
    torch.set_num_threads(os.cpu_count())
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    set_seed(0)
    path = assets.fetch_model()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    rows = data.tokenize(data.take(data.load_reviews("train"), asked.rows), tokenizer)
    new = partial(transformers.AutoModelForSequenceClassification.from_pretrained, path, num_labels=2)
    LOOPS[asked.loop](new(), rows.select(range(min(BATCH_SIZE, len(rows)))), tokenizer)  # imports
    model = new()
    with energy.measure(asked.loop, country=COUNTRY) as meter:
        LOOPS[asked.loop](model, rows, tokenizer)
    print(json.dumps({"raw": meter.result.raw(), "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
