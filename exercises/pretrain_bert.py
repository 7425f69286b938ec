"""Checks for “Pretrain a BERT”: pretraining a BERT."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .base import Verdict, check, not_yet, right

__all__ = ["break_even", "unigram", "word_vectors"]


@check("a share between 0 and 1, of the word vectors in all weights")
def word_vectors(answer: float) -> Verdict:
    """Judge the share of word vectors with 30,000 pieces of 256 numbers."""
    table, others = 30_000 * 256, 3_719_232 - 8_000 * 256
    if math.isclose(answer, 8_000 * 256 / 3_719_232, rel_tol=0.02):
        return not_yet("that is their share with 8,000 pieces. Now let the table grow to 30,000.")
    if math.isclose(answer, table / 3_719_232, rel_tol=0.02):
        return not_yet("a share above 1 can't be: the total grows with the table.")
    if math.isclose(answer, table / (3_719_232 + table), rel_tol=0.02):
        return not_yet("the old table is still in your total: the new one replaces it.")
    if math.isclose(answer, 100 * table / (others + table), rel_tol=0.02):
        return not_yet("that is in percent; expected a share between 0 and 1.")
    if math.isclose(answer, table / (others + table), rel_tol=0.02):
        return right(
            "more than four weights in five would be word vectors, and most of those pieces would hardly be "
            "met in a corpus of this size."
        )
    return not_yet("divide 30,000 x 256 by the new total: the old one without the old table, plus the new.")


@check("a function that takes train_ids, held_out_ids and vocab_size, and returns nats")
def unigram(answer: Callable[[Any, Any, int], Any]) -> Verdict:
    """Judge the cross-entropy of guessing held-out pieces by their frequency in training."""
    import torch

    train_ids, held_out_ids = torch.tensor([0, 0, 0, 0, 1, 1, 2]), torch.tensor([0, 1, 3, 3])
    counts = torch.tensor([4.0, 2.0, 1.0, 1.0])
    shares = (counts / counts.sum())[held_out_ids]
    expected = -shares.log().mean().item()
    found = float(answer(train_ids, held_out_ids, 4))
    if math.isinf(found) or math.isnan(found):
        return not_yet("a piece that never occurs in training makes the loss infinite. Count it as once.")
    if math.isclose(found, -expected, rel_tol=1e-4):
        return not_yet("the sign: a cross-entropy is minus the mean of the logarithm.")
    if math.isclose(found, expected / math.log(2), rel_tol=1e-4):
        return not_yet("that is in bits; expected nats, the natural logarithm.")
    if math.isclose(found, 4 * expected, rel_tol=1e-4):
        return not_yet("that is the sum over the held-out ids; expected their mean.")
    added = (counts + torch.tensor([1.0, 1, 1, 0])) / 11
    if math.isclose(found, -added[held_out_ids].log().mean().item(), rel_tol=1e-4):
        return not_yet("you add 1 to every count; here only pieces that never occur are lifted, to 1.")
    own = torch.tensor([1.0, 1.0, 2.0]) / 4
    if math.isclose(found, -(own * own.log()).sum().item(), rel_tol=1e-4):
        return not_yet("you take the frequencies from the held-out ids, which the baseline hasn't seen.")
    if math.isclose(found, expected, rel_tol=1e-4):
        return right("this is what a model that ignores the context can reach at best.")
    return not_yet(f"for the ids [0 0 0 0 1 1 2] and [0 1 3 3] expected {expected:.3f}, got {found:.3f}.")


@check("a whole number of fine-tunings")
def break_even(answer: float) -> Verdict:
    """Judge after how many fine-tunings a pretraining of 20 Wh has paid off, at 0.9 against 0.3 Wh."""
    if answer == 34:
        return right("each use saves 0.6 Wh, and the 34th brings the savings above 20 Wh.")
    if answer == 33 or 33.3 <= answer < 33.4:
        return not_yet("after 33 it has saved 19.8 Wh of the 20: one more.")
    if 22 <= answer <= 23:
        return not_yet("fine-tuning from the pretrained weights isn't free: subtract its 0.3 Wh.")
    if 66 <= answer <= 67:
        return not_yet("what counts is what a use saves, not what it takes.")
    return not_yet("divide what was spent once by what each use saves, and round up.")
