"""Records what a GPU's own counter says of predictions and of fine-tuning, beside sampled power.

    python -m benchmarks.gpu    # needs an NVIDIA GPU whose driver counts energy; five minutes on an H100

The course's BERT predicts test sentences and is fine-tuned on the training sentences, in batches of several
sizes, in fp32 and bf16, in turns. Meanwhile a thread asks the driver for the board's power. Writes
data/receipts/gpu.json, which “Measure energy” shows: what would a stopwatch have said?
"""

import contextlib
import copy
import itertools
import threading
import time
from collections.abc import Iterator

import numpy as np
import pynvml
import torch
import transformers

from benchmarks import COUNTRY, RECEIPTS, begin, save
from helpers import assets, data, energy, training

RECEIPT = RECEIPTS / "gpu.json"
PREDICTED, TRAINED = (1, 8, 32, 128, 512), (16, 128)  # batch sizes
PREDICTED_ROWS = 1_000
ROUNDS, WINDOW_S, IDLE_S = 3, 3.0, 5.0
EVERY_S = 0.02  # between two askings; the driver has a new figure less often
INSTANT = 186  # the driver's name for the power now (NVML_FI_DEV_POWER_INSTANT); the usual one is a mean


@contextlib.contextmanager
def sampled(gpu) -> Iterator[list]:
    """Rows of seconds, mean power and power now in W, and the counter in J, while the block runs."""
    rows, done, begun = [], threading.Event(), time.perf_counter()

    def ask() -> None:
        while not done.wait(EVERY_S):
            now = pynvml.nvmlDeviceGetFieldValues(gpu, [INSTANT])[0]
            instant = now.value.uiVal / 1_000 if now.nvmlReturn == 0 else None
            mean = pynvml.nvmlDeviceGetPowerUsage(gpu) / 1_000
            joules = pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1_000
            rows.append([time.perf_counter() - begun, mean, instant, joules])

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield rows
    finally:
        done.set()
        thread.join()


def by_power(rows: list, column: int) -> float | None:
    """Wh below one of the powers of `sampled`, joined by lines; None if it was never told."""
    known = np.array([(row[0], row[column]) for row in rows if row[column] is not None])
    return float(np.trapezoid(known[:, 1], known[:, 0])) / 3_600 if len(known) > 1 else None


class Work:
    """The two jobs, each for one batch size in one precision."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        folder, build = assets.fetch_model(), transformers.AutoModelForSequenceClassification
        self.model = build.from_pretrained(folder, num_labels=2).cuda().eval()
        self.tokenizer, self.window_s = transformers.AutoTokenizer.from_pretrained(folder), 0.0
        self.train, test = (data.tokenize(data.load_reviews(s), self.tokenizer) for s in ("train", "test"))
        test = data.take(test, PREDICTED_ROWS, "rows")
        self.watched, ask = data.take(test, 20, "rows"), {"shuffle": False}
        self.batches = {size: list(data.batches(test, self.tokenizer, size, **ask)) for size in PREDICTED}

    def predict(self, batch_size: int, precision: str, meter: energy.Meter) -> None:
        """Predict all rows, pass after pass, for the window or longer; each batch is waited for."""
        begun, passes = time.perf_counter(), 0
        while not passes or time.perf_counter() < begun + self.window_s:
            for batch in self.batches[batch_size]:
                inputs = {name: batch[name].cuda() for name in ("input_ids", "attention_mask")}
                half = torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16")
                with torch.inference_mode(), half:
                    self.model(**inputs).logits.argmax(dim=-1).tolist()
            meter.count(sentences=PREDICTED_ROWS)
            passes += 1

    def fine_tune(self, batch_size: int, precision: str, meter: energy.Meter) -> None:
        settings = {"epochs": 1, "batch_size": batch_size, "precision": precision.replace("fp32", "no")}
        training.fine_tune(copy.deepcopy(self.model), self.train, self.watched, self.tokenizer, **settings)
        meter.count(sentences=len(self.train))


def main() -> None:
    pynvml.nvmlInit()
    gpu, work, runs, idle = pynvml.nvmlDeviceGetHandleByIndex(0), Work(), [], [energy.idle(IDLE_S)]
    plan = [(work.predict, size) for size in PREDICTED] + [(work.fine_tune, size) for size in TRAINED]
    for turn, precision, (job, size) in itertools.product(range(ROUNDS + 1), ("fp32", "bf16"), plan):
        work.window_s = WINDOW_S if turn else 0.0  # the first turn warms up
        with energy.measure(job.__name__, country=COUNTRY) as meter, sampled(gpu) as rows:
            job(size, precision, meter)
        if turn:
            print(job.__name__, precision, size, meter.result, sep=" | ", flush=True)
            found = {"name": job.__name__, "precision": precision, "batch_size": size, "round": turn}
            by = {"mean_power_wh": by_power(rows, 1), "instant_power_wh": by_power(rows, 2)}
            runs.append(found | by | {"cost": meter.result})
    idle.append(energy.idle(IDLE_S))
    with sampled(gpu) as trace, energy.measure("idle, one by one, batches, idle", country=COUNTRY) as meter:
        time.sleep(WINDOW_S)
        work.predict(PREDICTED[0], "fp32", meter)
        work.predict(PREDICTED[-1], "fp32", meter)
        time.sleep(WINDOW_S)
    what = "a GPU's counter, beside sampled power, for predictions and fine-tuning"
    details = {"runs": runs, "idle": [each.reading for each in idle], "trace": trace}
    settings = {"rounds": ROUNDS, "window_s": WINDOW_S, "every_s": EVERY_S}
    save(RECEIPT, "benchmarks.gpu", what, ("reviews/train.csv", "reviews/test.csv"), settings, details)


if __name__ == "__main__":
    begin(__doc__)
    main()
