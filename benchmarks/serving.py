"""Ways to answer a queue of texts, and what each of them costs."""

import itertools
import queue
import statistics
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from benchmarks import COUNTRY
from benchmarks.contestants import fit_tfidf
from helpers import assets, compression, energy, training

BATCH_SIZE, MAX_LENGTH = 16, 128  # of 8, 16, 32 and 64 the fastest for the rival
ONE_BY_ONE, BUCKETED, BESIDE = "one by one, padded to 128", "like lengths", "side by side"
WAYS = {
    ONE_BY_ONE: {"batch_size": 1, "pad_to": MAX_LENGTH},
    "one by one": {"batch_size": 1},
    "as they come": {"by_length": False},
    BUCKETED: {},
    f"{BUCKETED}, {BESIDE}": {"beside": True},
}
CASCADE = {
    "of": "4 layers int8",  # answers what TF-IDF is not sure of
    "thresholds": [round(0.5 + 0.02 * step, 2) for step in range(26)],
    "measured": [0.6, 0.7, 0.8, 0.9],
}
QUANTIZED = ("teacher", "4 layers", "small")
SERVED = ("teacher", "4 layers", "3 layers", "2 layers", "small", *(f"{name} int8" for name in QUANTIZED))
BEST = f"small int8, {BESIDE}"
SERVING = {"texts": 256, "rounds": 5, "window_s": 1.2, "idle_s": 5.0, "latency_s": 3.0, "loadgen_s": 3.0}
SERVING |= {"p90_ms": 50, "shares": [0.2, 0.4, 0.6, 0.8]}  # of the offline rate, at which questions arrive


def answer(
    texts: Sequence[str], model, tokenizer, *, batch_size=BATCH_SIZE, by_length=True, pad_to=0, beside=False
) -> list[int]:
    """Classes of the texts, in their order; tokenizing is part of the work.

    `by_length` sorts the queue first, so that the texts of a batch are of similar length. A text is padded to
    the longest of its batch, or to `pad_to` tokens if that is given. `beside` gives each core a batch of its
    own, where otherwise all cores share one and wait for each other after each operation.
    """
    ids = tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH)["input_ids"]
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]) if by_length else row)
    classes, device = np.zeros(len(ids), dtype=int), next(model.parameters()).device
    threads = torch.get_num_threads()

    @torch.inference_mode()  # which is a thread's own
    def answer_batch(at: int) -> None:
        rows = order[at : at + batch_size]
        lengths = torch.tensor([len(ids[row]) for row in rows])
        longest = max(pad_to, int(lengths.max()))
        tokens = [ids[row] + [tokenizer.pad_token_id] * (longest - len(ids[row])) for row in rows]
        mask = (torch.arange(longest) < lengths[:, None]).long()
        logits = model(input_ids=torch.tensor(tokens).to(device), attention_mask=mask.to(device)).logits
        classes[rows] = logits.argmax(dim=-1).cpu()

    batches = range(0, len(ids), batch_size)
    if not beside:
        list(map(answer_batch, batches))
        return classes.tolist()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(answer_batch, batches))
    finally:
        torch.set_num_threads(threads)
    return classes.tolist()


def cascade(texts: Sequence[str], gate: Pipeline, threshold: float, rest: Callable) -> list[int]:
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
    """What MLPerf's load generator finds in three scenarios, in so many seconds or more each.

    Single-stream asks the next when the last is answered; offline asks at once for as many as fill the time
    if `per_s` are answered in a second; as a server, questions arrive at random, so many a second on average,
    and what waits is answered together. "server_per_s" is the highest such rate, of some shares of `per_s`,
    up to which nine in ten are answered within SERVING["p90_ms"]; None if there is none.
    """
    import mlperf_loadgen  # comes with requirements-test.txt; it has no build for Python 3.14

    scenarios, waiting = mlperf_loadgen.TestScenario, queue.SimpleQueue()

    def issue(queries):
        predict([texts[query.index] for query in queries])
        done = [mlperf_loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries]
        mlperf_loadgen.QuerySamplesComplete(done)

    def serve():
        while (queries := waiting.get()) is not None:
            while not waiting.empty() and (more := waiting.get()) is not None:
                queries += more
            issue(queries)

    def summary(scenario, per_s: float) -> dict[str, str]:
        """The lines of LoadGen's summary, by what stands before the colon."""
        settings, log = mlperf_loadgen.TestSettings(), mlperf_loadgen.LogSettings()
        settings.scenario, settings.mode = scenario, mlperf_loadgen.TestMode.PerformanceOnly
        settings.min_duration_ms, settings.min_query_count = int(seconds * 1_000), 64
        settings.offline_expected_qps = settings.server_target_qps = per_s
        take = waiting.put if scenario == scenarios.Server else issue
        system = mlperf_loadgen.ConstructSUT(take, lambda: None)
        library = mlperf_loadgen.ConstructQSL(len(texts), len(texts), lambda rows: None, lambda rows: None)
        server = threading.Thread(target=serve)
        server.start()
        with tempfile.TemporaryDirectory() as logs:
            log.log_output.outdir = logs
            mlperf_loadgen.StartTestWithLogSettings(system, library, settings, log, f"{logs}/audit.config")
            lines = Path(logs, "mlperf_log_summary.txt").read_text().splitlines()
        waiting.put(None)
        server.join()
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(system)
        pairs = (line.split(":", 1) for line in lines if line.count(":") == 1)
        return {name.strip(): value.strip() for name, value in pairs}

    def milliseconds(found: dict[str, str], percentile: int) -> float:
        return float(found[f"{percentile}.00 percentile latency (ns)"]) / 1e6

    single, offline = (summary(each, per_s) for each in (scenarios.SingleStream, scenarios.Offline))
    rates = [share * per_s for share in SERVING["shares"]]
    p90 = {rate: milliseconds(summary(scenarios.Server, rate), 90) for rate in rates}
    held = [*itertools.takewhile(lambda rate: p90[rate] <= SERVING["p90_ms"], rates)]
    found = {f"single_stream_p{percent}_ms": milliseconds(single, percent) for percent in (50, 90)}
    found |= {"server_per_s": max(held, default=None), "server_p90_ms": list(p90.values())}
    return found | {"offline_per_s": float(offline["Samples per second"])}


def gate_of(work) -> Pipeline:
    return fit_tfidf(work.rows["train"]["text"][:], work.rows["train"]["label"][:])


def floor_of(work) -> Pipeline:
    """Logistic regression on the mean of a sentence's pretrained word vectors, as Model2Vec has it."""
    pretrained = transformers.AutoModel.from_pretrained(assets.fetch_model())
    vectors = pretrained.get_input_embeddings().weight.detach().numpy()

    def means(texts: Sequence[str]) -> np.ndarray:
        ids = work.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return np.stack([vectors[row].mean(axis=0) for row in ids])

    model = make_pipeline(FunctionTransformer(means), StandardScaler(), LogisticRegression(max_iter=1_000))
    return model.fit(work.rows["train"]["text"][:], work.rows["train"]["label"][:])


def cascaded(work, seeds: Sequence[int]) -> dict:
    """The cascade's curve on validation, the threshold that follows from it, and one evaluation on test."""
    [cost] = energy.repeat({"TF-IDF": partial(gate_of, work)}, 1, country=COUNTRY, window_s=1.0)["TF-IDF"]
    gate, floor = gate_of(work), floor_of(work)
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
    found = {"gate": work.outcome(gates) | {"cost": cost}, "alone": accuracies(np.inf), "curve": curve}
    found["floor"] = work.outcome({s: floor.predict_proba(work.rows[s]["text"][:]) for s in work.splits})
    found |= {"chosen": chosen, "asked_of_test": asked("test", chosen)}
    return found | {"seeds": [{"seed": n} | work.outcome(p) for n, p in zip(seeds, cascades, strict=True)]}


def ways_to_serve(work, threshold: float) -> dict[str, Callable[[Sequence[str]], list[int]]]:
    """By name, a function from texts to classes."""
    whole, onnx = work.whole("teacher", 0), [f"{name} onnx" for name in ("teacher", "small")]
    ways = {name: how | {"model": whole} for name, how in WAYS.items()}
    ways |= {name: {"model": work.load(name, 0)} for name in SERVED}
    ways |= {name: {"model": compression.OnnxClassifier(work.path(name, 0, ".onnx"))} for name in onnx}
    alone = compression.OnnxClassifier(work.path("small int8", 0, ".onnx"), threads=1)
    ways[BEST] = {"model": alone, "beside": True}
    functions = {name: partial(answer, tokenizer=work.tokenizer, **way) for name, way in ways.items()}
    pipeline = transformers.pipeline("text-classification", whole, tokenizer=work.tokenizer, device="cpu")
    functions["pipeline"] = lambda texts: pipeline(list(texts), batch_size=BATCH_SIZE, truncation=True)
    gate, floor, rest = gate_of(work), floor_of(work), functions[CASCADE["of"]]
    functions["TF-IDF"] = lambda texts: gate.predict_proba(list(texts)).argmax(axis=1).tolist()
    functions["word vectors"] = lambda texts: floor.predict_proba(list(texts)).argmax(axis=1).tolist()
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
    for name in (ONE_BY_ONE, BUCKETED, *SERVED, BEST, "TF-IDF", chosen):
        window = {"country": COUNTRY, "window_s": SERVING["latency_s"]}
        latencies[name] = energy.per_1000(name, ways[name], texts, **window)
    for name in (ONE_BY_ONE, BUCKETED, CASCADE["of"], "small int8", BEST, "TF-IDF", chosen):
        seconds = np.median([run.wall_s / run.work["calls"] for run in runs[name]])
        loads[name] = loadgen(ways[name], texts, SERVING["loadgen_s"], len(texts) / seconds)
    joules = {name: joules_per_1000(each, len(texts)) for name, each in runs.items()}
    print(*latencies.values(), *loads.items(), *joules.items(), sep="\n", flush=True)
    found = {"texts": len(texts), "threads": torch.get_num_threads(), "rounds": runs, "latency": latencies}
    idle = [each.reading for each in (before, energy.idle(SERVING["idle_s"]))]
    return found | {"joules_per_1000": joules, "loadgen": loads, "idle": idle}
