"""Checks for “Fine-tune a BERT”: fine-tuning a BERT."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .base import Verdict, check, not_yet, right

__all__ = ["batch", "gaps", "steps"]

WHY_NOT_A_GAP = {
    3: "line 3 is fine: the head for two classes is new, but that is what fine-tuning trains",
    4: "line 4 is fine: 2e-5 is a usual learning rate for BERT",
    5: "line 5 is fine: cross-entropy takes logits and labels, and line 5 only makes it",
    9: "line 9 is fine, and needed: PyTorch adds to old gradients unless they are cleared",
    14: "line 14 is fine: it switches dropout off for validation",
}


@check("the numbers of the faulty lines, such as {3, 7}")
def gaps(answer: Iterable[int]) -> Verdict:
    """Judge which lines of the listing are faulty."""
    lines = {int(line) for line in answer}
    wrong = sorted(lines - {1, 2, 10, 11, 15, 16})
    if wrong:
        return not_yet(f"{WHY_NOT_A_GAP.get(wrong[0], f'line {wrong[0]} does what it should')}.")
    if not {1, 2} <= lines:
        return not_yet("the listing would stop before its first step: what do lines 1 and 2 read?")
    if 11 not in lines:
        return not_yet("look at what line 10 returns, and what the loss in line 11 expects.")
    if 10 not in lines:
        return not_yet("in a padded batch, what tells the model in line 10 which tokens are padding?")
    if 16 not in lines:
        return not_yet("after validation, what do you know that you did not know before?")
    return right(
        "no data (1, 2), no attention mask (10, 16), an object where logits belong (11), and a validation "
        "that computes nothing (16). After line 16 there is no test and no use either."
    )


@check("a whole number, the optimizer's steps")
def steps(answer: int) -> Verdict:
    """Judge the number of steps in 3 epochs over 7,070 rows in batches of 32."""
    if answer == 221:
        return not_yet("that is one epoch; the listing makes three.")
    if answer == 3 * 7_070:
        return not_yet("that counts sentences. One step takes a whole batch of 32.")
    if 662 <= answer < 663:
        return not_yet(
            "7,070 / 32 is not whole: the last batch of an epoch is smaller, but a step all the same."
        )
    if answer == 663:
        return right("221 batches an epoch, the last one of 30 sentences, and three epochs.")
    return not_yet("divide the sentences into batches, round up, and multiply by the epochs.")


@check("a function that takes lists of token ids and returns (input_ids, attention_mask)")
def batch(answer: Callable[[list[list[int]]], Any]) -> Verdict:
    """Judge a function that pads lists of token ids to their longest."""
    import torch

    rows = [[101, 2307, 3185, 102], [101, 102], [101, 2919, 102]]
    given = [list(row) for row in rows]
    input_ids, attention_mask = answer(given)
    input_ids, attention_mask = torch.as_tensor(input_ids), torch.as_tensor(attention_mask)
    if given != rows:
        return not_yet("your function changes the lists it is given; make new ones, or the data grows zeros.")
    if input_ids.shape != (3, 4):
        return not_yet(
            f"input_ids has the shape {tuple(input_ids.shape)}, expected (3, 4): 3 rows, the longest 4."
        )
    if attention_mask.shape != (3, 4):
        return not_yet(f"attention_mask has the shape {tuple(attention_mask.shape)}, expected (3, 4).")
    expected_ids = torch.tensor([[101, 2307, 3185, 102], [101, 102, 0, 0], [101, 2919, 102, 0]])
    expected_mask = (expected_ids != 0).long()
    if torch.equal(attention_mask.long(), 1 - expected_mask):
        return not_yet("the mask is the wrong way around: 1 says 'read this', 0 says 'padding'.")
    if torch.equal(input_ids, expected_ids.flip(1)) or (input_ids[:, 0] == 0).any():
        return not_yet("pad on the right: BERT expects [CLS], id 101, at position 0.")
    if not torch.equal(input_ids, expected_ids):
        return not_yet(f"row 1 should become [101, 102, 0, 0] and is {input_ids[1].tolist()}.")
    if not torch.equal(attention_mask.long(), expected_mask):
        return not_yet(
            "the ids are right; the mask should be 1 where a token stands and 0 where padding does."
        )
    return right("short sentences are filled up with 0, and the mask says where the filling is.")
