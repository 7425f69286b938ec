"""Checks of “Fine-tune a BERT”: fine-tuning a BERT."""

import math
import re
from collections.abc import Callable, Iterable, Mapping

import torch

from helpers import statistics

from .base import Finding, check, near, untouched

FINE_LINES = {
    3: "line 3 is fine: the head for two classes is new, but that is what fine-tuning trains",
    4: "line 4 is fine: 2e-5 is a usual learning rate for BERT",
    5: "line 5 is fine: cross-entropy takes logits and labels, and line 5 only makes it",
    9: "line 9 is fine, and needed: PyTorch adds to old gradients unless they are cleared",
    14: "line 14 is fine: it switches dropout off for validation",
}


@check("the numbers of the faulty lines, such as {3, 7}")
def gaps(answer: Iterable[int]) -> str:
    lines = {int(line) for line in (re.findall(r"\d+", answer) if isinstance(answer, str) else answer)}
    if fine := lines - {1, 2, 8, 10, 11, 15, 16}:
        return f"{FINE_LINES.get(min(fine), f'line {min(fine)} does what it should')}."
    if not {1, 2} <= lines:
        return "the listing would stop before its first step: what do lines 1 and 2 read?"
    if 11 not in lines:
        return "look at what line 10 returns, and what the loss in line 11 expects."
    if 10 not in lines:
        return "in a padded batch, what tells the model in line 10 which tokens are padding?"
    if 16 not in lines:
        return "after validation, what do you know that you did not know before?"
    return (
        "Right: no data (1, 2), no attention mask (10, 16), an object where logits belong (11), and a "
        "validation that throws its answers away (16). After line 16 there is no test and no use either."
    )


@check("a function that takes lists of token ids and returns (input_ids, attention_mask)")
def batch(answer: Callable) -> str:
    rows = [[101, 2307, 3185, 102], [101, 102], [101, 0, 102]]  # 0 as a token: somebody wrote “[PAD]”
    got = untouched(answer, rows)
    got = (got["input_ids"], got["attention_mask"]) if isinstance(got, Mapping) else got
    if len(got) != 2:
        return f"return two things, input_ids and attention_mask; you return {len(got)}."
    if len({*map(len, got[0])}) > 1:
        return "your rows differ in length, so they are no batch yet: fill the short ones up with 0."
    ids, mask = map(torch.as_tensor, got)
    for name, got in (("input_ids", ids), ("attention_mask", mask)):
        if got.shape != (3, 4):
            return f"{name} has the shape {tuple(got.shape)}, expected (3, 4): 3 rows, the longest 4."
    expected_ids = torch.tensor([row + [0] * (4 - len(row)) for row in rows])
    expected_mask = torch.tensor([[1] * len(row) + [0] * (4 - len(row)) for row in rows])
    if near(mask, 1 - expected_mask):
        return "the mask is the wrong way around: 1 says 'read this', 0 says 'padding'."
    if (ids[:, 0] == 0).any():
        return "pad on the right: BERT expects [CLS], id 101, at position 0."
    if not near(ids, expected_ids):
        return f"row 1 should become [101, 102, 0, 0] and is {ids[1].tolist()}."
    if near(mask, expected_ids != 0):
        return "a token may have the id 0 too: make the mask from the lengths, not from the ids."
    if not near(mask, expected_mask):
        return "the ids are right; the mask should be 1 where a token stands and 0 where padding does."
    return "Right: short sentences are filled up with 0, and the mask says where the filling is."


@check("a function that takes only_a and only_b and returns p, a number")
def mcnemar(answer: Callable) -> Finding:
    for a, b in ((3, 9), (9, 3), (5, 5), (6, 0), (300, 260)):
        got, n = answer(a, b), a + b
        split, chi_squared = math.comb(n, a) / 2**n, math.erfc(abs(a - b) / math.sqrt(2 * n))
        p = statistics.sign_test([1] * a + [-1] * b)
        if got > 1 + 1e-9:
            return f"p is {got:.3g} for {a} and {b}, and none is above 1. Have you divided by all ways?"
        found = {
            "Right: all splits at least so uneven, on both sides, of all that coins can give.": p,
            "that is one side only. The other model might be as far ahead: double it.": p / 2,
            "that is how often it falls exactly so. Add the splits that are more uneven.": {split, 2 * split},
            "the split itself counts too: `range(k)` ends before k.": {p / 2 - split, p - 2 * split},
            "that is chi-squared, near for many sentences. Count the ways instead.": chi_squared,
            "your p is 1 where one model is ahead. Sum up to the smaller of the two counts.": 1,
            "begin with this: how often does a coin give the smaller of the two, or fewer?": ...,
        }
        if not near(got, p):
            break
    return got, found
