"""Checks of “Train with less”: training with less."""

from collections.abc import Callable

from .base import Finding, check, near


@check("a function of (lengths, batch_size) that returns a number of tokens")
def tokens(answer: Callable) -> Finding:
    """Judge the number of tokens computed, padding included."""
    lengths = [3, 9, 4, 4, 7, 2, 6]
    got, want = answer(list(lengths), 3), 3 * 9 + 3 * 7 + 6
    if near(got, want) and (answer([6], 8) != 6 or answer([5, 5, 5, 5], 2) != 20):
        return "it is right for one list, but not for a single sentence, or four of one length."
    return got, {
        "Right: sort the lengths before you cut, and the same function shows what like lengths save.": want,
        "those are the tokens that somebody wrote. The rectangles are larger.": sum(lengths),
        "you pad all batches to the longest sentence of all; each has its own longest.": 7 * 9,
        "the last batch is shorter, and its sentences count too.": 3 * 9 + 3 * 7,
        "the last batch has only one row: it isn't filled up to batch_size.": 3 * 9 + 3 * 7 + 3 * 6,
        "that adds up the widths. A rectangle is its width times its rows.": 9 + 7 + 6,
        "you sort the lengths first. That is what a frugal recipe does, but the order is given here.": 42,
        f"for the lengths {lengths} in batches of 3 you give {got}, expected {want}.": ...,
    }


@check("a whole number of weights")
def lora(answer: int) -> Finding:
    """Judge the number of weights in LoRA's products."""
    return answer, {
        "Right: 73,728, a third of a percent of the model. The trained head, with its pooler, is twice as "
        "large.": 6 * 2 * 2 * 384 * 8,
        "half of them: a layer has two products, and each of those has two matrices.": 6 * 2 * 384 * 8,
        "that is one layer. The model has six.": 2 * 2 * 384 * 8,
        "that is the size of the whole matrices that stay frozen beside them.": 6 * 2 * 384 * 384,
        "that is what a product BA looks like when multiplied out; what is trained are B and A.": 384 * 384,
        "three matrices a layer is one too many: only query and value get a product.": 6 * 3 * 2 * 384 * 8,
        "6 layers, 2 products in each, 2 matrices in each product, 384 x 8 weights in each matrix.": ...,
    }


@check("a whole number of epochs")
def halving(answer: int) -> Finding:
    """Judge the epochs of successive halving whose survivors go on from where they were."""
    return answer, {
        "Right: 8 + 4 + 4 + 4. Training all eight to the end takes 64, so two thirds of the budget are free "
        "for other settings.": 20,
        "that is all eight trained to the end.": 64,
        "that starts every survivor anew in each round; here it goes on from where it was.": 32,
        "that counts one epoch for each survivor of each round; later rounds are longer.": 15,
        "from 1 to 2 epochs, from 2 to 4, from 4 to 8: is the last round in your sum?": 16,
        "the eight take 8 epochs at the start; add the three rounds after it to that.": 12,
        "add up the rounds: how many go on, times how many epochs more.": ...,
    }
