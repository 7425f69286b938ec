"""Ways to answer a queue of texts, and what each of them costs."""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mlperf_loadgen
import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from helpers import energy
from helpers.energy.comparing import median_interval

BATCH_SIZE, MAX_LENGTH = 32, 128


def answer(
    texts: Sequence[str],
    model,
    tokenizer,
    *,
    batch_size: int = BATCH_SIZE,
    by_length: bool = True,
    pad_to: int | None = None,
) -> list[int]:
    """Classes of the texts, in their order; tokenizing is part of the work.

    Parameters
    ----------
    by_length : bool
        Sort the queue first, so that a batch holds texts of like length.
    pad_to : int, optional
        Tokens that each text is filled up to; to the longest of its batch if not given.
    """
    ids = tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH)["input_ids"]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row])) if by_length else range(len(ids))
    classes = [0] * len(ids)
    with torch.inference_mode():
        for at in range(0, len(ids), batch_size):
            rows = order[at : at + batch_size]
            width = pad_to or max(len(ids[row]) for row in rows)
            tokens = torch.full((len(rows), width), tokenizer.pad_token_id)
            mask = torch.zeros_like(tokens)
            for place, row in enumerate(rows):
                tokens[place, : len(ids[row])] = torch.tensor(ids[row])
                mask[place, : len(ids[row])] = 1
            found = model(input_ids=tokens, attention_mask=mask).logits.argmax(dim=-1)
            for row, found_class in zip(rows, found.tolist(), strict=True):
                classes[row] = found_class
    return classes


def fit_gate(texts: Sequence[str], labels: Sequence[int]) -> Pipeline:
    """TF-IDF with logistic regression, as “Fine-tune a BERT” trains it."""
    gate = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    return gate.fit(list(texts), list(labels))


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
    """Median of the rounds, and its 95 % bootstrap interval; None if an energy is unknown.

    Parameters
    ----------
    rounds : sequence of Measurement
        From `energy.repeat`, whose calls answered `texts` texts each.
    """
    if any(each.energy_wh is None for each in rounds):
        return None
    values = [each.energy_wh * 3_600 / each.work["calls"] / texts * 1_000 for each in rounds]
    return statistics.median(values), *median_interval(values)


def loadgen(predict: Callable[[list[str]], list], texts: Sequence[str], seconds: float, rate: float) -> dict:
    """What MLPerf's load generator finds in its scenarios single-stream and offline.

    Parameters
    ----------
    seconds : float
        Of each scenario, at least.
    rate : float
        Texts a second that are expected offline; LoadGen asks for as many as fill the time.
    """
    scenario = mlperf_loadgen.TestScenario
    single = _loadgen(scenario.SingleStream, predict, texts, seconds, rate)
    offline = _loadgen(scenario.Offline, predict, texts, seconds, rate)
    return {
        "single_stream_p50_ms": float(single["50.00 percentile latency (ns)"]) / 1e6,
        "single_stream_p90_ms": float(single["90.00 percentile latency (ns)"]) / 1e6,
        "offline_per_s": float(offline["Samples per second"]),
    }


def _loadgen(scenario, predict, texts: Sequence[str], seconds: float, rate: float) -> Mapping[str, str]:
    """LoadGen's summary: its lines, by what stands before the colon."""

    def issue(queries):
        predict([texts[query.index] for query in queries])
        done = [mlperf_loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries]
        mlperf_loadgen.QuerySamplesComplete(done)

    settings = mlperf_loadgen.TestSettings()
    settings.scenario, settings.mode = scenario, mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms, settings.min_query_count = int(seconds * 1_000), 64
    settings.offline_expected_qps = rate
    log = mlperf_loadgen.LogSettings()
    system = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(len(texts), len(texts), lambda rows: None, lambda rows: None)
    with tempfile.TemporaryDirectory() as logs:
        log.log_output.outdir = logs
        mlperf_loadgen.StartTestWithLogSettings(system, library, settings, log, f"{logs}/audit.config")
        summary = Path(logs, "mlperf_log_summary.txt").read_text()
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroySUT(system)
    lines = (line.split(":", 1) for line in summary.splitlines() if line.count(":") == 1)
    return {name.strip(): value.strip() for name, value in lines}
