"""Checks of “Pretrain a BERT”: pretraining a BERT."""

import math
from collections.abc import Callable

from .base import Finding, check


@check("a fraction between 0 and 1, of the word vectors in all weights", 0.02)
def word_vectors(answer: float) -> Finding:
    """Judge the fraction of word vectors in a model with 30,000 tokens of 256 numbers."""
    table, old_table, old_total = 30_000 * 256, 8_000 * 256, 3_719_232
    fraction = table / (old_total - old_table + table)
    return answer, {
        "Right: more than four weights in five would be word vectors, and most of those tokens would hardly "
        "be met in a corpus of this size.": fraction,
        "that is their fraction with 8,000 tokens. Now let the table grow to 30,000.": old_table / old_total,
        "a fraction above 1 can't be: the total grows with the table.": table / old_total,
        "the old table is still in your total: the new one replaces it.": table / (old_total + table),
        "that is in percent; expected a fraction between 0 and 1.": 100 * fraction,
        "divide 30,000 x 256 by the new total: the old one without the old table, plus the new.": ...,
    }


@check("a function that takes train_ids, held_out_ids and vocab_size, and returns nats", 1e-4)
def unigram(answer: Callable) -> Finding:
    """Judge the cross-entropy of guessing held-out tokens by their frequency in training."""
    import torch

    train_ids, held_out_ids = torch.tensor([0, 0, 0, 0, 1, 1, 2]), torch.tensor([0, 1, 3, 3])
    loss, added, own = (
        -(torch.tensor(counts) / sum(counts))[held_out_ids].log().mean().item()
        for counts in ((4, 2, 1, 1), (5, 3, 2, 1), (1, 1, 0, 2))
    )
    found = float(answer(train_ids, held_out_ids, 4))
    if not math.isfinite(found):
        return "a token that never occurs in training makes the loss infinite. Count it as once."
    return found, {
        "Right: this is what a model that ignores the context can reach at best.": loss,
        "the sign: a cross-entropy is minus the mean of the logarithm.": -loss,
        "that is in bits; expected nats, the natural logarithm.": loss / math.log(2),
        "that is the sum over the held-out ids; expected their mean.": 4 * loss,
        "you add 1 to every count; here only tokens that never occur are lifted, to 1.": added,
        "you take the frequencies from the held-out ids, which the baseline hasn't seen.": own,
        f"for the ids [0 0 0 0 1 1 2] and [0 1 3 3] expected {loss:.3f}, got {found:.3f}.": ...,
    }


@check("a whole number of fine-tunings", 0.0015)
def break_even(answer: float) -> Finding:
    """Judge after how many fine-tunings a pretraining of 20 Wh has paid off, at 0.9 against 0.3 Wh."""
    return answer, {
        "Right: each use saves 0.6 Wh, and the 34th brings the savings above 20 Wh.": 34,
        "after 33 it has saved 19.8 Wh of the 20: one more.": {33, 20 / 0.6},
        "fine-tuning from the pretrained weights isn't free: subtract its 0.3 Wh.": {22, 20 / 0.9, 23},
        "what counts is what a use saves, not what it takes.": {66, 20 / 0.3, 67},
        "divide what was spent once by what each use saves, and round up.": ...,
    }
