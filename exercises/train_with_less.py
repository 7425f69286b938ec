"""Checks of “Train with less”: training with less."""

from collections.abc import Callable

import numpy as np

from .base import Finding, check, near, untouched


@check("a function of (lengths, batch_size) that returns a number of tokens")
def tokens(answer: Callable) -> Finding:
    lengths = [3, 7, 4, 4, 9, 2, 6]
    got, want = untouched(answer, lengths, 3), 3 * 7 + 3 * 9 + 6
    if near(got, want) and (answer([6], 8) != 6 or answer([5, 5, 5, 5], 2) != 20):
        return "it is right for one list, but not for a single sentence, or four of one length."
    return got, {
        "Right: sort the lengths before you cut, and the same function shows what bucketing saves.": want,
        "those are the tokens that somebody wrote. The rectangles are larger.": sum(lengths),
        "you pad all batches to the longest sentence of all; each has its own longest.": 7 * 9,
        "you keep the longest sentence of the batches before; each has its own longest.": 3 * 7 + 4 * 9,
        "the last batch is shorter, and its sentences count too.": 3 * 7 + 3 * 9,
        "the last batch has only one row: it isn't filled up to batch_size.": 3 * 7 + 3 * 9 + 3 * 6,
        "that adds up the widths. A rectangle is its width times its rows.": 7 + 9 + 6,
        "you sort the lengths first. That is what a frugal recipe does, but the order is given here.": 42,
        f"for the lengths {lengths} in batches of 3 you give {got}, expected {want}.": ...,
    }


@check("a whole number of weights")
def lora(answer: int) -> Finding:
    return answer, {
        "Right: 73,728, a third of a percent of the model. Its trained head is larger.": 6 * 2 * 2 * 384 * 8,
        "half of them: a layer has two products, and each of those has two matrices.": 6 * 2 * 384 * 8,
        "that is one layer. The model has six.": 2 * 2 * 384 * 8,
        "that is the size of the whole matrices that stay frozen beside them.": 6 * 2 * 384 * 384,
        "that is a product BA multiplied out, or else four matrices in each; B and A are two.": 384 * 384,
        "three matrices a layer is one too many: only query and value get a product.": 6 * 3 * 2 * 384 * 8,
        "6 layers, 2 products in each, 2 matrices in each product, 384 x 8 weights in each matrix.": ...,
    }


@check("a function of (lengths, batch_size, seed) that returns batches, lists of row numbers")
def buckets(answer: Callable) -> str:
    lengths, epochs = np.random.default_rng(0).integers(4, 60, 100).tolist(), []
    for seed in range(4):
        batches = [[int(row) for row in batch] for batch in untouched(answer, lengths, 8, seed)]
        if sorted(row for batch in batches for row in batch) != list(range(100)):
            return "each of the 100 rows belongs in one batch, and only in one."
        if (sizes := sorted(map(len, batches))) != [4] + 12 * [8]:
            return f"100 rows make 12 batches of 8 and one of 4; yours have {sizes}."
        widths = [max(lengths[row] for row in batch) for batch in batches]
        spent = sum(len(batch) * width for batch, width in zip(batches, widths, strict=True))
        if spent > 1.1 * sum(lengths):
            return f"your batches compute {spent:,} tokens for {sum(lengths):,} that were written."
        if widths in (sorted(widths), sorted(widths, reverse=True)):
            return "little padding, but an epoch goes through the lengths in order: shuffle the batches."
        epochs.append(sorted(map(sorted, batches)))
    if epochs[0] in epochs[1:]:
        return "another seed gives the same batches, in another order or not: let chance decide among equals."
    return "Right: little padding, and enough chance. Transformers' Trainer has it, too: “group_by_length”."
