"""One table of ratios: the naive recipe against the frugal one, our loop against Trainer, and the plumbing.

    python -m benchmarks                       # about a quarter of an hour on 2 quiet cores
    python -m benchmarks --json record.json    # and every figure as a file

The two of a pair take turns in one call, five times after a warm-up; a ratio is the median of the rounds,
with its 95 % bootstrap interval. What was recorded before, because it takes an hour, says so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
import transformers

from benchmarks import loops, overhead, recipes, recording
from helpers import assets, data, energy
from helpers.energy.comparing import median_interval

COUNTRY = "USA"
ROUNDS = 5
STEP_ROWS = 256  # of naive and frugal, in turns: enough for batches of like length
LOOP_ROWS, GLUE_ROWS = 640, 160
LENGTHS = {"full length": 128, "a film sentence's mean": 27}
MATRIX = 1_024
NOTEBOOK_START = "import torch, transformers, matplotlib.pyplot; from helpers import data, energy, training"


def ratio(name: str, runs: dict, per: str = "") -> dict:
    """The pair's time and energy ratios, first by second."""
    first, second = runs
    seconds = [a.wall_s / b.wall_s for a, b in zip(runs[first], runs[second], strict=True)]
    compared = energy.compare(runs)
    return {
        "pair": name,
        "first": first,
        "second": second,
        "time_ratio": statistics.median(seconds),
        "time_interval": median_interval(seconds),
        "energy_ratio": compared.ratio,
        "energy_interval": compared.interval,
        "method": compared.method,
        "verdict": compared.verdict,
        "marked_rounds": compared.marked,
        "seconds": {each: [run.wall_s for run in runs[each]] for each in runs},
    }


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


def whole_runs() -> dict:
    """Ratios and accuracies of the recorded runs of both recipes; the runs of frugal are averaged."""
    receipt = json.loads(recipes.RECEIPT.read_text())
    runs = {name: [run for run in receipt["runs"] if run["name"] == name] for name in recipes.RECIPES}
    [naive], ends = runs["naive"], [run["to_target"] for run in runs["frugal"]]
    found = {key: receipt[key] for key in ("hardware", "date", "target")} | {"missed": ends.count(None)}
    if None not in ends:
        whole = {"seconds": naive["cost"]["wall_s"], "energy_wh": naive["results"]["energy_wh"]}
        for name, old in (("as written", whole), ("stopped at the target", naive["to_target"])):
            found[f"naive {name} / frugal"] = {
                what: old[what] / statistics.mean(end[what] for end in ends) for what in whole
            }
    padding_is_masked = runs["naive"] + runs["padded to the batch"]
    for name, some in (("naive", padding_is_masked), ("frugal", runs["frugal"])):
        found[f"test accuracy of {name}"] = statistics.mean(run["test_accuracy"] for run in some)
        found[f"seeds of {name}"] = len(some)
    return found


def in_turns(first: tuple[str, int], second: tuple[str, int]) -> dict:
    """Run two of `benchmarks.loops` in turns, each time in a fresh process."""
    pairs = (first, second)
    runs, peaks = {name: [] for name, _ in pairs}, {name: [] for name, _ in pairs}
    for _ in range(ROUNDS):
        for name, rows in pairs:
            command = [sys.executable, "-m", "benchmarks.loops", name, str(rows)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=assets.ROOT)
            found = json.loads(done.stdout.splitlines()[-1])
            measurement = energy.Measurement.from_raw(found["raw"] | {"work": {"calls": rows}})
            runs[name].append(measurement)
            peaks[name].append(found["peak_bytes"])
    result = ratio(f"{first[0]} / {second[0]}", runs)
    if first[1] != second[1]:  # by the sentence
        factor = second[1] / first[1]
        result["time_ratio"] *= factor
        result["time_interval"] = [factor * end for end in result["time_interval"]]
    result["rows"] = dict(pairs)
    result["peak_gb"] = {name: statistics.median(values) / 1e9 for name, values in peaks.items()}
    return result


def matrix_rate(seconds: float = 2.0) -> float:
    """Operations a second of multiplying square matrices in fp32."""
    one = torch.rand(MATRIX, MATRIX)
    one @ one
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        one @ one
        count += 1
    return count * 2 * MATRIX**3 / (time.perf_counter() - start)


def share_of_matrix_rate(length: int) -> dict:
    """A training step of 32 sentences of one length: its share of the rate, and where its time goes."""
    settings = recipes.RECIPES["better rate"]
    model = recipes.new_model(settings).train()
    optimizer, _ = recipes.new_optimizer(model, settings, 1_000)
    ids = torch.randint(1_000, 20_000, (loops.BATCH_SIZE, length))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 2}
    config = model.config
    weights = config.num_hidden_layers * (
        4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    )
    attention = config.num_hidden_layers * 2 * length * config.hidden_size
    flop = 6 * (weights + attention) * ids.numel()

    rounds = []
    for _ in range(ROUNDS + 1):
        rate = matrix_rate(0.5)
        marks = [time.perf_counter()]
        loss = model(**batch).loss
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        marks.append(time.perf_counter())
        rounds.append((flop / (marks[-1] - marks[0]) / rate, *(b - a for a, b in pairwise(marks))))
    shares, *parts = zip(*rounds[1:], strict=True)
    names = ("forward_s", "backward_s", "optimizer_s")
    split = {name: statistics.median(values) for name, values in zip(names, parts, strict=True)}
    return {"length": length, "share": statistics.median(shares), "interval": median_interval(shares)} | split


def start_seconds(code: str) -> float:
    """Median seconds of a fresh Python that runs the code."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=assets.ROOT)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    asked = parser.parse_args()
    if asked.json is not None and not asked.json.parent.is_dir():
        parser.error(f"there is no folder {asked.json.parent}: make it first, or name another.")
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    record = recording.header(
        "ratios of the course's training against others, and what the plumbing costs",
        "python -m benchmarks --json",
        ("torch", "transformers", "accelerate", "codecarbon"),
        ("reviews/train.csv",),
    )
    print(f"{record['hardware']}, {record['date']}, {record['precision']} where our loop chooses\n")
    print(f"{'first / second':36} {'time':>24} {'energy':>24}  peak memory")
    record["pairs"] = []
    for make in (
        naive_against_frugal,
        lambda: in_turns(("trainer", LOOP_ROWS), ("ours", LOOP_ROWS)),
        lambda: in_turns(("run_glue", GLUE_ROWS), ("ours", LOOP_ROWS)),
    ):
        found = make()
        record["pairs"].append(found)
        spans = [
            f"{found[f'{what}_ratio']:.2f} ({low:.2f} to {high:.2f})"
            for what in ("time", "energy")
            for low, high in [found[f"{what}_interval"]]
        ]
        peaks = " / ".join(f"{gb:.2f} GB" for gb in found.get("peak_gb", {}).values())
        marked = f" other programs ran in {len(found['marked_rounds'])} rounds" * bool(found["marked_rounds"])
        print(f"{found['pair']:36} {spans[0]:>24} {spans[1]:>24}  {peaks}{marked}", flush=True)
    if recipes.RECEIPT.is_file():
        record["whole_runs"] = found = whole_runs()
        print(f"\nwhole runs, recorded on {found['hardware']}, {found['date']}, target {found['target']:.0%}")
        for name in found:
            if " / " in name:
                print(f"  {name}: time {found[name]['seconds']:.1f}, energy {found[name]['energy_wh']:.1f}")
        for name in ("naive", "frugal"):
            accuracy = found[f"test accuracy of {name}"]
            print(f"  test accuracy of {name}: {accuracy:.1%} over {found[f'seeds of {name}']} seeds")
    print("\nshare of this machine's own matrix rate, a training step of 32 in fp32")
    record["matrix_rate"] = {name: share_of_matrix_rate(length) for name, length in LENGTHS.items()}
    for name, found in record["matrix_rate"].items():
        parts = ", ".join(f"{part[:-2]} {found[part]:.2f} s" for part in found if part.endswith("_s"))
        print(f"  {name:24} {found['length']:4} tokens: {found['share']:.0%}   ({parts})", flush=True)
    record["start"] = {"python": start_seconds("pass"), "import helpers": start_seconds("import helpers")}
    record["start"]["a notebook's imports"] = start_seconds(NOTEBOOK_START)
    print("\nstart-up: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in record["start"].items()))
    print()
    overhead.main()
    if asked.json is not None:
        recording.save(asked.json, record)
        print(f"\n{asked.json} is written.")


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count())
    main()
