"""Checks of “Fine-tune a BERT”: fine-tuning a BERT."""

from collections.abc import Callable, Iterable

import torch

from .base import Finding, check, near

FINE_LINES = {
    3: "line 3 is fine: the head for two classes is new, but that is what fine-tuning trains",
    4: "line 4 is fine: 2e-5 is a usual learning rate for BERT",
    5: "line 5 is fine: cross-entropy takes logits and labels, and line 5 only makes it",
    9: "line 9 is fine, and needed: PyTorch adds to old gradients unless they are cleared",
    14: "line 14 is fine: it switches dropout off for validation",
}


@check("the numbers of the faulty lines, such as {3, 7}")
def gaps(answer: Iterable[int]) -> str:
    lines = {int(line) for line in answer}
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


@check("a whole number, the optimizer's steps", 1e-4)
def steps(answer: int) -> Finding:
    rounded = {662, 3 * 7_070 / 32}
    return answer, {
        "Right: 221 batches an epoch, the last one of 30 sentences, and three epochs.": 663,
        "that is one epoch; the listing makes three.": 221,
        "that counts sentences. One step takes a whole batch of 32.": 3 * 7_070,
        "7,070 / 32 is not whole: the last batch of an epoch is smaller, but a step all the same.": rounded,
        "divide the sentences into batches, round up, and multiply by the epochs.": ...,
    }


@check("a function that takes lists of token ids and returns (input_ids, attention_mask)")
def batch(answer: Callable) -> str:
    rows = [[101, 2307, 3185, 102], [101, 102], [101, 2919, 102]]
    given = [list(row) for row in rows]
    ids, mask = map(torch.as_tensor, answer(given))
    if given != rows:
        return "your function changes the lists it is given; make new ones, or the data grows zeros."
    for name, got in (("input_ids", ids), ("attention_mask", mask)):
        if got.shape != (3, 4):
            return f"{name} has the shape {tuple(got.shape)}, expected (3, 4): 3 rows, the longest 4."
    expected_ids = torch.tensor([row + [0] * (4 - len(row)) for row in rows])
    expected_mask = (expected_ids != 0).long()
    if near(mask, 1 - expected_mask):
        return "the mask is the wrong way around: 1 says 'read this', 0 says 'padding'."
    if near(ids, expected_ids.flip(1)) or (ids[:, 0] == 0).any():
        return "pad on the right: BERT expects [CLS], id 101, at position 0."
    if not near(ids, expected_ids):
        return f"row 1 should become [101, 102, 0, 0] and is {ids[1].tolist()}."
    if not near(mask, expected_mask):
        return "the ids are right; the mask should be 1 where a token stands and 0 where padding does."
    return "Right: short sentences are filled up with 0, and the mask says where the filling is."
