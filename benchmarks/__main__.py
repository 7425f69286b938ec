"""One table of ratios: recipes and loops, each against a rival.

    python -m benchmarks                       # about ten minutes on 2 quiet cores
    python -m benchmarks --json record.json    # and every figure as a receipt

The two of a pair take turns in one call, five times after a warm-up; a ratio is the geometric mean of the
rounds, with its 95 % t interval. What whole runs of the recipes cost is in data/receipts/recipes.json.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import COUNTRY, begin, recipes, save
from helpers import assets, data, energy, training

ROUNDS = 5
STEP_ROWS = 256  # of naive and frugal, in turns: enough for length bucketing
LOOP_ROWS, GLUE_ROWS = 640, 160
BATCH_SIZE, LEARNING_RATE, WARMUP_FRACTION = 32, 1e-4, 0.1
MATRIX, MATRIX_S = 1_024, 0.5  # whose multiplication a step's rate is held against, and for how long
LENGTHS = {"full length": 128, "a film sentence's mean": 27}  # tokens
PAIRS = ({"trainer": LOOP_ROWS, "ours": LOOP_ROWS}, {"run_glue": GLUE_ROWS, "ours": LOOP_ROWS})  # and rows


def ours(model, rows, tokenizer) -> None:
    """Our loop; like the others it validates on a single row."""
    settings = {"batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE, "warmup_fraction": WARMUP_FRACTION}
    training.fine_tune(model, rows, rows.select([0]), tokenizer, epochs=1, **settings)


def trainer(model, rows, tokenizer) -> None:
    """Transformers' Trainer at the settings of our loop."""
    settings = {"learning_rate": LEARNING_RATE, "warmup_steps": WARMUP_FRACTION}  # below 1: of all steps
    settings |= {"train_sampling_strategy": "group_by_length", "bf16": training.best_precision() == "bf16"}
    _train(model, rows, transformers.DataCollatorWithPadding(tokenizer), **settings)


def run_glue(model, rows, tokenizer) -> None:
    """Trainer as its text-classification example uses it: everything padded to 128, 2e-5, any order, fp32."""
    collate = transformers.DataCollatorWithPadding(tokenizer, padding="max_length", max_length=128)
    _train(model, rows, collate, learning_rate=2e-5, train_sampling_strategy="random", bf16=False)


def _train(model, rows, collate, **settings) -> None:
    settings |= {"num_train_epochs": 1, "per_device_train_batch_size": BATCH_SIZE, "eval_strategy": "epoch"}
    settings |= {"save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True}
    settings["dataloader_pin_memory"] = torch.cuda.is_available()
    settings["use_cpu"] = not torch.accelerator.is_available()  # else bf16 is refused on a CPU
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(folder, **settings)
        rows = rows.select_columns(["input_ids", "label"])
        sets = {"train_dataset": rows, "eval_dataset": rows.select([0])}
        transformers.Trainer(model, arguments, data_collator=collate, **sets).train()


LOOPS = {"ours": ours, "trainer": trainer, "run_glue": run_glue}


def peak_bytes() -> int:
    """The most memory that this process has had. Linux's `ru_maxrss` would count its parent's too."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS gives bytes


def train_once(loop: str, rows: int) -> None:
    """One training in this process, so that its peak memory is its own; print what it cost as JSON."""
    transformers.set_seed(0)
    path = assets.fetch_model()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    some = data.tokenize(data.take(data.load_reviews("train"), rows), tokenizer)
    new = partial(transformers.AutoModelForSequenceClassification.from_pretrained, path, num_labels=2)
    LOOPS[loop](new(), some.select(range(min(BATCH_SIZE, rows))), tokenizer)  # imports
    model = new()
    with energy.measure(loop, country=COUNTRY) as meter:
        LOOPS[loop](model, some, tokenizer)
    print(json.dumps({"raw": meter.result.raw(), "peak_bytes": peak_bytes()}))


def ratio(name: str, runs: dict) -> dict:
    """The pair's time and energy ratios, first by second, by the call."""
    compared = energy.compare(runs)
    found = {"pair": name, "first": compared.names[0], "second": compared.names[1], "comparison": compared}
    found |= {"time_ratio": compared.time.mean, "time_interval": [compared.time.low, compared.time.high]}
    return found | {"seconds": {each: [run.wall_s for run in runs[each]] for each in runs}}


def naive_against_frugal() -> dict:
    """Steps of both recipes on the same sentences, in turns."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch_model())
    rows = data.tokenize(data.take(data.load_reviews("train"), STEP_ROWS), tokenizer)

    def work(name: str):
        settings = recipes.RECIPES[name] | {"epochs": 1}
        model = recipes.new_model(settings)
        return lambda: list(recipes.training_steps(model, rows, tokenizer, settings, seed=0))

    works = {name: work(name) for name in ("naive", "frugal")}
    return ratio("a training step, naive / frugal", energy.repeat(works, ROUNDS, country=COUNTRY))


def in_turns(rows: dict[str, int]) -> dict:
    """Train with two loops in turns, each time in a fresh process; ratios are by the sentence."""
    runs, peaks = {name: [] for name in rows}, {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, count in rows.items():
            command = [sys.executable, "-m", "benchmarks", "--loop", name, str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=assets.ROOT)
            found = json.loads(done.stdout.splitlines()[-1])
            runs[name].append(energy.Measurement.from_raw(found["raw"] | {"work": {"calls": count}}))
            peaks[name].append(found["peak_bytes"])
    peak_gb = {name: statistics.median(values) / 1e9 for name, values in peaks.items()}
    return ratio(" / ".join(rows), runs) | {"rows": rows, "peak_gb": peak_gb}  # a call is a sentence


def fraction_of_matrix_rate(length: int) -> dict:
    """How near a training step of 32 sentences comes to the rate of multiplying square matrices in fp32."""
    settings = recipes.RECIPES["better rate"]
    model, square = recipes.new_model(settings).train(), torch.rand(MATRIX, MATRIX)
    optimizer, _ = recipes.new_optimizer(model, settings, 1_000)
    timer = Timer("square @ square", globals={"square": square}, num_threads=torch.get_num_threads())
    ids = torch.randint(1_000, 20_000, (BATCH_SIZE, length))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 2}

    def step() -> None:
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # it misses CPU's fused one
        step()
    shares = []
    for _ in range(ROUNDS):
        matrix_s, begun = timer.blocked_autorange(min_run_time=MATRIX_S).mean, time.perf_counter()
        step()
        step_s = time.perf_counter() - begun
        shares.append(counter.get_total_flops() / step_s / (2 * MATRIX**3 / matrix_s))
    return {"length": length, "share": statistics.median(shares), "range": [min(shares), max(shares)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--loop", nargs=2, metavar=("NAME", "ROWS"), help="one training, for `in_turns`")
    asked = parser.parse_args()
    if asked.loop:
        return train_once(asked.loop[0], int(asked.loop[1]))
    if asked.json is not None and not asked.json.parent.is_dir():
        parser.error(f"there is no folder {asked.json.parent}: make it first, or name another.")
    pairs = []
    for make in (naive_against_frugal, *(partial(in_turns, pair) for pair in PAIRS)):
        pairs.append(found := make())
        low, high = found["time_interval"]
        print(f"{found['pair']}: {found['time_ratio']:.2f} times as long ({low:.2f} to {high:.2f})", end="; ")
        print(*(f"{name} {gb:.2f} GB at most" for name, gb in found.get("peak_gb", {}).items()), sep=", ")
        print("  energy:", found["comparison"], flush=True)
    rates = {name: fraction_of_matrix_rate(length) for name, length in LENGTHS.items()}
    for name, found in rates.items():
        print(f"a step, {name}, {found['length']} tokens: {found['share']:.0%} of this machine's matrix rate")
    if asked.json is not None:
        what, files = "ratios of the course's training against others", ["reviews/train.csv"]
        settings = {"rows": {"steps": STEP_ROWS, "loops": LOOP_ROWS, "run_glue": GLUE_ROWS}}
        save(asked.json, "benchmarks --json", what, files, settings, {"pairs": pairs, "matrix_rate": rates})
        print(f"\n{asked.json} is written.")


if __name__ == "__main__":
    begin()
    main()
