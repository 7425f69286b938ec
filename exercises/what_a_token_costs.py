"""Checks of “What a token costs”: a cache, its size, the cheapest setting, a token's joules."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import scaled_dot_product_attention as attend

from helpers.assets import DATA

from .base import Finding, check, untouched


@check("a function of (q, k, v, cache) that returns the mix, heads x new x d")
def cached_attention(answer: Callable) -> Finding:
    torch.manual_seed(11)
    for heads, length, d in ((2, 12, 4), (3, 9, 8)):
        text = torch.randn(3, heads, length, d)
        whole = attend(*text, is_causal=True)
        for chunks in ([length], [1] * length, [length - 1, 1], [4, 1, length - 5]):
            cache, end = {}, 0
            for new in chunks:
                start, end = end, end + new
                q, k, v = text[:, :, start:end]
                got = answer(q.clone(), k.clone(), v.clone(), cache)
                if not isinstance(got, torch.Tensor) or got.shape != q.shape:
                    return "your function should return a tensor of heads x new x d, the mix of the values."
                if torch.allclose(got, whole[:, start:end], atol=1e-5):
                    continue
                _, past_k, past_v = text[:, :, :end]
                slips = {
                    "a second chunk doesn't see the cached tokens.": attend(q, k, v, is_causal=True),
                    "a new token sees those after it: a mask is missing.": attend(q, k, v),
                    "with a cache your mask is missing: each token sees all.": attend(q, past_k, past_v),
                    "the mask starts at the wrong corner: the first new token sees the whole cache, and "
                    "`is_causal` lets it see one key.": attend(q, past_k, past_v, is_causal=True),
                }
                hint = f"wrong with chunks of {chunks}: put the new keys and values behind the cached ones."
                same = (text for text, slip in slips.items() if torch.allclose(got, slip, atol=1e-5))
                return next(same, hint)
    return "Right: however the text is cut, the mix is the same. All that a writer must know is in there."


@check("a function of (weights, layers, kv_heads, d) that returns a whole number of tokens")
def outweighs(answer: Callable) -> Finding:
    shapes = [(8_030_000_000, 32, 8, 128), (134_515_008, 30, 3, 64), (70_600_000_000, 80, 8, 128)]
    shapes += [(1_000, 2, 4, 8), (4_096, 2, 4, 8)]  # the last: as large with 32 tokens, and not larger
    weights, layers, heads, d = np.array(shapes, dtype=np.int64).T

    def count(parts=2, more=1, layers=layers, heads=heads):
        return weights // (parts * layers * heads * d) + more

    got = [answer(*shape) for shape in shapes]
    if any(tokens % 1 for tokens in got):
        return "a whole number of tokens, please: round down, and add one."
    return got, {
        "Right: the first, a model as people run at home, has a cache as large as its weights after a thick "
        "novel; with eight readers at once, after an eighth of a novel each.": count(),
        "a token leaves a key *and* a value.": count(parts=1),
        "that is where they are as large. From the next token on it is *larger*.": count(more=0),
        "where both are as large, the cache isn't *larger* yet: one more.": count(more=[1, 1, 1, 1, 0]),
        "each layer has a cache of its own.": count(layers=1),
        "each head has a key and a value of its own.": count(heads=1),
        "two bytes for each number of the cache, and one for each weight.": count(parts=4),
        "both are in 16 bits, so bytes cancel. Numbers a token: key and value, layers, heads, d.": ...,
    }


def _served(arrivals: list, lengths: list, places: int, step_s: dict) -> list[tuple[float, float]]:
    """Serve a trace with continuous batching: of each answer the seconds from its arrival and its start."""
    waiting, running, found, clock = list(range(len(arrivals))), {}, [], 0.0
    while waiting or running:
        while waiting and len(running) < places and arrivals[waiting[0]] <= clock:
            request = waiting.pop(0)
            running[request] = lengths[request], clock
        if not running:
            clock = arrivals[waiting[0]]
            continue
        clock += step_s[len(running)]
        ended = {each: start for each, (left, start) in running.items() if left == 1}
        found += [(clock - arrivals[each], clock - start) for each, start in ended.items()]
        running = {each: (left - 1, start) for each, (left, start) in running.items() if left > 1}
    return found


@check("a function of (arrivals, lengths, step_s, target_s) that returns a number of places, or None")
def fewest_places(answer: Callable) -> Finding:
    draw = np.random.default_rng(5)  # of these traces, all ways to define a quantile say the same
    traces = [(0.1, 0.5, 1.3), (0.1, 0.2, 2.0), (0.3, 1.0, 1.5), (0.02, 0.3, 1.2), (0.3, 0.5, 0.9)]
    traces = [({n: 0.05 * (1 + growth * (n - 1)) for n in range(1, 17)}, *rest) for growth, *rest in traces]
    h100 = pd.read_csv(DATA / "gpu_serving.csv").query("model.str.contains('-3.1-8B-') and gpu == 'H100'")
    measured = {n: float(np.interp(n, h100.batch, h100.token_gap_ms / 1e3)) for n in range(1, 65)}
    for step_s, gap_s, factor in (*traces, (measured, 0.01, 1.3)):
        arrivals = np.cumsum(draw.exponential(gap_s, 40)).tolist()
        lengths = draw.integers(5, 60, 40).tolist()
        served = {places: np.array(_served(arrivals, lengths, places, step_s)) for places in step_s}
        found = {  # by places: nine in ten answers, the mean one, and nine in ten from their start on
            places: (np.quantile(seconds[:, 0], 0.9), seconds[:, 0].mean(), np.quantile(seconds[:, 1], 0.9))
            for places, seconds in served.items()
        }
        target_s = float(factor * min(p90 for p90, *_ in found.values()))
        firsts = [next((n for n in found if found[n][kind] <= target_s), None) for kind in range(3)]
        right, of_mean, from_start = firsts
        got = untouched(answer, arrivals, lengths, step_s, target_s)
        if got == right:
            continue
        if right is None:
            return "on one trace no setting meets the target. Return None there."
        if got not in step_s:
            return f"your function returned {got!r}, and {right} places would do: return one of the keys."
        if got == from_start:
            return "people wait from their arrival on, not from when they get a place."
        if got == of_mean:
            return "that is right for the mean. Nine of ten are to be in time, not the average one."
        if (p90 := found[got][0]) > target_s:
            return f"with {got} places one of ten waits {p90:.1f} s or more; the target is {target_s:.1f} s."
        return f"{got} places are fast enough, and so are fewer. Each place holds memory, taken or not."
    return f"Right: on six traces. On the last, an H100's, {right} places will do, and {right - 1} won't."


@check("a number, the watt-hours of one answer", 0.1)
def one_answer(answer: float) -> Finding:
    runs = pd.read_csv(DATA / "wall_meter.csv").query("job == 'language model'")
    totals = dict.fromkeys(("wall_kwh", "tokens_out", "samples"), "sum")
    models = runs.groupby("model").agg({"parameters": "first"} | totals)
    found, dense = models.loc["phi4-reasoning:14b"], models.drop(index=["gpt-oss:20b", "gemma3n:e4b"])
    joules = dense.wall_kwh * 3.6e6 / dense.tokens_out
    slope, height = np.polyfit(np.log(dense.parameters / 1e9), np.log(joules), 1)
    predicted = float(np.exp(height) * 14.7**slope) * 3_800 / 3_600
    straight = float(np.exp(height)) * 14.7 * 3_800 / 3_600
    measured = 1_000 * found.wall_kwh / found.samples
    return answer, {
        f"Right: the line says {predicted:.1f} Wh, and the meter said {measured:.1f} Wh for each of its "
        f"{found.samples:.0f} answers. A phone's battery holds some 15.": predicted,
        "those are joules. A watt-hour has 3,600 of them.": predicted * 3_600,
        "that is a token's part. An answer has 3,800 of them.": predicted / 3_800,
        "that is an answer in kilowatt-hours.": predicted / 1_000,
        f"the size has an exponent, 14.7 ** {slope:.2f}; that is no factor.": {straight, straight * slope},
        "the line's size is in billions of weights: 14.7.": predicted * 1e9**slope,
        "the line's height at 14.7, times 3,800 tokens, in watt-hours.": ...,
    }
