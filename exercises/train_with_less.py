"""Checks for “Train with less”: training with less."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .base import Verdict, check, not_yet, right

__all__ = ["halving", "lora", "tokens"]


@check("a function of (lengths, batch_size) that returns a number of tokens")
def tokens(answer: Callable[[Sequence[int], int], int]) -> Verdict:
    """Judge the number of tokens computed, padding included."""
    lengths = [3, 9, 4, 4, 7, 2, 5]
    got = answer(list(lengths), 3)
    slips = {
        "those are the tokens that somebody wrote. The rectangles are larger.": sum(lengths),
        "you pad all batches to the longest sentence of all; each has its own longest.": 7 * 9,
        "the last batch is shorter, and its sentences count too.": 3 * 9 + 3 * 7,
        "the last batch has only one row: it isn't filled up to batch_size.": 3 * 9 + 3 * 7 + 3 * 5,
        "that adds up the widths. A rectangle is its width times its rows.": 9 + 7 + 5,
        "you sort the lengths first. That is what a frugal recipe does, but the order is given here.": 3 * 4
        + 3 * 7
        + 9,
    }
    if got == 3 * 9 + 3 * 7 + 5:
        if answer([6], 8) != 6 or answer([5, 5, 5, 5], 2) != 20:
            return not_yet("it is right for one list, but not for a single sentence, or four of one length.")
        return right("sort the lengths before you cut, and the same function shows what like lengths save.")
    for message, wrong in slips.items():
        if got == wrong:
            return not_yet(message)
    return not_yet(f"for the lengths {lengths} in batches of 3 you give {got}, expected {3 * 9 + 3 * 7 + 5}.")


@check("a whole number of weights")
def lora(answer: int) -> Verdict:
    """Judge the number of weights in LoRA's products."""
    value = float(answer)
    if value == 6 * 2 * 2 * 384 * 8:
        return right(
            "73,728, a third of a percent of the model. The trained head, with its pooler, is twice as large."
        )
    slips = {
        "half of them: a layer has two products, and each of those has two matrices.": 6 * 2 * 384 * 8,
        "that is one layer. The model has six.": 2 * 2 * 384 * 8,
        "that is the size of the whole matrices that stay frozen beside them.": 6 * 2 * 384 * 384,
        "that is what a product BA looks like when multiplied out; what is trained are B and A.": 384 * 384,
        "three matrices a layer is one too many: only query and value get a product.": 6 * 3 * 2 * 384 * 8,
    }
    for message, wrong in slips.items():
        if math.isclose(value, wrong):
            return not_yet(message)
    return not_yet(
        "6 layers, 2 products in each, 2 matrices in each product, 384 x 8 weights in each matrix."
    )


@check("a whole number of epochs")
def halving(answer: int) -> Verdict:
    """Judge the epochs of successive halving whose survivors go on from where they were."""
    value = float(answer)
    if value == 20:
        return right(
            "8 + 4 + 4 + 4. Training all eight to the end takes 64, so two thirds of the budget are free for "
            "other settings."
        )
    slips = {
        64: "that is all eight trained to the end.",
        32: "that starts every survivor anew in each round; here it goes on from where it was.",
        15: "that counts one epoch for each survivor of each round; later rounds are longer.",
        12: "from 1 to 2 epochs, from 2 to 4, from 4 to 8: is the last round in your sum?",
        16: "the eight take 8 epochs at the start; add the three rounds after it to that.",
    }
    return not_yet(slips.get(int(value), "add up the rounds: how many go on, times how many epochs more."))
