"""Ways to answer a queue of texts, and what each of them costs."""

import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from torch.nn import functional as F

from benchmarks import COUNTRY
from benchmarks.contestants import fit_tfidf
from helpers import compression, data, energy, training

BATCH_SIZE, MAX_LENGTH = 32, 128
ONE_BY_ONE, BUCKETED = "one by one, padded to 128", "like lengths"
WAYS = {
    ONE_BY_ONE: {"batch_size": 1, "pad_to": MAX_LENGTH},
    "one by one": {"batch_size": 1},
    "as they come": {"by_length": False},
    BUCKETED: {},
}
CASCADE = {
    "of": "4 layers int8",  # answers what TF-IDF is not sure of
    "thresholds": [round(0.5 + 0.02 * step, 2) for step in range(26)],
    "measured": [0.6, 0.7, 0.8, 0.9],
}
QUANTIZED = ("teacher", "4 layers", "small")
SERVED = ("teacher", "4 layers", "3 layers", "2 layers", "small", *(f"{name} int8" for name in QUANTIZED))
SERVING = {"texts": 256, "rounds": 5, "window_s": 1.2, "idle_s": 5.0, "latency_s": 3.0, "loadgen_s": 3.0}


def answer(
    texts: Sequence[str], model, tokenizer, *, batch_size: int = BATCH_SIZE, by_length=True, pad_to: int = 0
) -> list[int]:
    """Classes of the texts, in their order; tokenizing is part of the work.

    `by_length` sorts the queue first, so that the texts of a batch are of similar length. A text is padded to
    the longest of its batch, or to `pad_to` tokens if that is given.
    """
    tokenized = tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH)
    ids = [torch.tensor(row) for row in tokenized["input_ids"]]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]) if by_length else row)
    classes, device = torch.zeros(len(ids), dtype=torch.long), next(model.parameters()).device
    with torch.inference_mode():
        for at in range(0, len(ids), batch_size):
            rows = order[at : at + batch_size]
            tokens, mask = data.pad([ids[row] for row in rows], tokenizer.pad_token_id)
            fill = (0, max(0, pad_to - tokens.shape[1]))
            tokens, mask = F.pad(tokens, fill, value=tokenizer.pad_token_id), F.pad(mask, fill)
            logits = model(input_ids=tokens.to(device), attention_mask=mask.to(device)).logits
            classes[rows] = logits.argmax(dim=-1).cpu()
    return classes.tolist()


def cascade(
    texts: Sequence[str], gate: Pipeline, threshold: float, rest: Callable[[list[str]], list[int]]
) -> list[int]:
    """Classes of the texts: the gate's where it is at least so sure, those of `rest` for the others."""
    probabilities = gate.predict_proba(list(texts))
    classes = probabilities.argmax(axis=1)
    hard = np.flatnonzero(probabilities.max(axis=1) < threshold)
    if len(hard):
        classes[hard] = rest([texts[row] for row in hard])
    return classes.tolist()


def combined(gate: np.ndarray, rest: np.ndarray, threshold: float) -> np.ndarray:
    """Probabilities of a cascade, from those of its two parts, each of shape (rows, classes)."""
    return np.where(gate.max(axis=1, keepdims=True) >= threshold, gate, rest)


def joules_per_1000(rounds: Sequence[energy.Measurement], texts: int) -> tuple[float, float, float] | None:
    """Median of the rounds, whose calls answered so many texts, and their range; None if unknown."""
    if any(each.energy_wh is None for each in rounds):
        return None
    values = [each.energy_wh * 3_600 / each.work["calls"] / texts * 1_000 for each in rounds]
    return statistics.median(values), min(values), max(values)


def loadgen(predict: Callable[[list[str]], list], texts: Sequence[str], seconds: float, per_s: float) -> dict:
    """What MLPerf's load generator finds in single-stream and offline, in so many seconds or more.

    Offline, LoadGen asks for as many texts as fill the time if `per_s` of them are answered in a second.
    """
    import mlperf_loadgen  # has no build for Python 3.14

    def issue(queries):
        predict([texts[query.index] for query in queries])
        done = [mlperf_loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries]
        mlperf_loadgen.QuerySamplesComplete(done)

    def summary(scenario) -> dict[str, str]:
        """The lines of LoadGen's summary, by what stands before the colon."""
        settings, log = mlperf_loadgen.TestSettings(), mlperf_loadgen.LogSettings()
        settings.scenario, settings.mode = scenario, mlperf_loadgen.TestMode.PerformanceOnly
        settings.min_duration_ms, settings.min_query_count = int(seconds * 1_000), 64
        settings.offline_expected_qps = per_s
        system = mlperf_loadgen.ConstructSUT(issue, lambda: None)
        library = mlperf_loadgen.ConstructQSL(len(texts), len(texts), lambda rows: None, lambda rows: None)
        with tempfile.TemporaryDirectory() as logs:
            log.log_output.outdir = logs
            mlperf_loadgen.StartTestWithLogSettings(system, library, settings, log, f"{logs}/audit.config")
            lines = Path(logs, "mlperf_log_summary.txt").read_text().splitlines()
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(system)
        pairs = (line.split(":", 1) for line in lines if line.count(":") == 1)
        return {name.strip(): value.strip() for name, value in pairs}

    single = summary(mlperf_loadgen.TestScenario.SingleStream)
    offline = summary(mlperf_loadgen.TestScenario.Offline)
    return {
        "single_stream_p50_ms": float(single["50.00 percentile latency (ns)"]) / 1e6,
        "single_stream_p90_ms": float(single["90.00 percentile latency (ns)"]) / 1e6,
        "offline_per_s": float(offline["Samples per second"]),
    }


def gate_of(work) -> Pipeline:
    """TF-IDF, trained on the training sentences."""
    return fit_tfidf(work.rows["train"]["text"][:], work.rows["train"]["label"][:])


def cascaded(work, seeds: Sequence[int]) -> dict:
    """The cascade's curve on validation, the threshold that follows from it, and one evaluation on test."""
    [cost] = energy.repeat({"TF-IDF": partial(gate_of, work)}, 1, country=COUNTRY, window_s=1.0)["TF-IDF"]
    gate = gate_of(work)
    gates = {split: gate.predict_proba(work.rows[split]["text"][:]) for split in work.splits}
    labels = np.array(work.rows["validation"]["label"])
    rest = [work.answers(CASCADE["of"], seed) for seed in seeds]

    def accuracies(threshold: float) -> list[float]:
        both = [combined(gates["validation"], each["validation"], threshold) for each in rest]
        return [training.score(labels, probabilities).accuracy for probabilities in both]

    def asked(split: str, threshold: float) -> float:
        return float((gates[split].max(axis=1) < threshold).mean())

    grid = CASCADE["thresholds"]
    curve = [{"threshold": at, "asked": asked("validation", at), "accuracies": accuracies(at)} for at in grid]
    chosen = max(curve, key=lambda point: np.mean(point["accuracies"]))["threshold"]  # the lowest of the best
    cascades = ({s: combined(gates[s], each[s], chosen) for s in work.splits} for each in rest)
    return {
        "gate": work.outcome(gates) | {"cost": cost},
        "alone": accuracies(math.inf),
        "curve": curve,
        "chosen": chosen,
        "asked_of_test": asked("test", chosen),
        "seeds": [{"seed": n} | work.outcome(each) for n, each in zip(seeds, cascades, strict=True)],
    }


def ways_to_serve(work, threshold: float) -> dict[str, Callable[[Sequence[str]], list[int]]]:
    """By name, a function from texts to classes."""
    whole = work.whole("teacher", 0)
    onnx = compression.OnnxClassifier(work.path("small onnx", 0, ".onnx"))
    ways = {name: how | {"model": whole} for name, how in WAYS.items()}
    ways |= {name: {"model": work.load(name, 0)} for name in SERVED} | {"small onnx": {"model": onnx}}
    functions = {name: partial(answer, tokenizer=work.tokenizer, **way) for name, way in ways.items()}
    gate, rest = gate_of(work), functions[CASCADE["of"]]
    functions["TF-IDF"] = lambda texts: gate.predict_proba(list(texts)).argmax(axis=1).tolist()
    for at in sorted({*CASCADE["measured"], threshold}):
        functions[f"cascade {at:.2f}"] = partial(cascade, gate=gate, threshold=at, rest=rest)
    return functions


def served(work, threshold: float) -> dict:
    """Energy of answering the same texts in each way, in turns; latency one by one; LoadGen."""
    texts = work.rows["test"]["text"][: SERVING["texts"]]
    ways, chosen = ways_to_serve(work, threshold), f"cascade {threshold:.2f}"
    before = energy.idle(SERVING["idle_s"])
    calls = {name: partial(way, texts) for name, way in ways.items()}
    runs = energy.repeat(calls, SERVING["rounds"], country=COUNTRY, window_s=SERVING["window_s"])
    latencies, loads = {}, {}
    for name in (ONE_BY_ONE, BUCKETED, *SERVED, "TF-IDF", chosen):
        window = {"country": COUNTRY, "window_s": SERVING["latency_s"]}
        latencies[name] = energy.per_1000(name, ways[name], texts, **window)
    for name in (ONE_BY_ONE, BUCKETED, CASCADE["of"], "small int8", "TF-IDF", chosen):
        seconds = np.median([run.wall_s / run.work["calls"] for run in runs[name]])
        loads[name] = loadgen(ways[name], texts, SERVING["loadgen_s"], len(texts) / seconds)
    joules = {name: joules_per_1000(each, len(texts)) for name, each in runs.items()}
    print(*latencies.values(), *loads.items(), *joules.items(), sep="\n", flush=True)
    return {
        "texts": len(texts),
        "threads": torch.get_num_threads(),
        "idle": [reading.reading for reading in (before, energy.idle(SERVING["idle_s"]))],
        "rounds": runs,
        "joules_per_1000": joules,
        "latency": latencies,
        "loadgen": loads,
    }
