"""Checks of “Pretrain a BERT”: pretraining a BERT."""

import math
import numbers
from collections.abc import Callable

import torch

from helpers import pretraining

from .base import Finding, check, untouched

SIGMAS = 5.0  # a fair coin is that far off once in a million draws
VOCAB_SIZE, LENGTH, BATCH_SIZE, HEAD_SIZE = 2_000, 20, 48, 32  # of every model that the budget is spent on
BUDGET_FLOP = 2e12


@check("a function that takes x, special_ids, mask_id, vocab_size and generator, and returns two tensors")
def mask(answer: Callable) -> Finding:
    cases = [(300, 40, 900, (0, 1, 2, 3, 4), 4), (700, 24, 2_000, (0, 100, 101, 102, 103), 103)]
    for seed, (rows, length, vocab_size, special_ids, mask_id) in enumerate(cases):
        draw = torch.Generator().manual_seed(seed)
        x = torch.randint(110, vocab_size, (rows, length), generator=draw)
        x[:, 0], x[::3, -1] = special_ids[2], special_ids[1]
        x[torch.arange(length) >= torch.randint(length // 2, length + 1, (rows, 1), generator=draw)] = 0
        given = x, special_ids, mask_id, vocab_size, torch.Generator().manual_seed(9)
        if finding := _amiss(x, [untouched(answer, *given) for _ in range(2)], special_ids, mask_id):
            return finding
    return "Right: 15 % asked for, of these 80/10/10, no special token touched, and the batch left as it was."


def _amiss(x: torch.Tensor, calls: list, special_ids: tuple, mask_id: int) -> str:
    """Say what is amiss with what two calls of the same seed made of a batch, or nothing."""
    for call in calls:
        if not (isinstance(call, tuple | list) and len(call) == 2 and all(map(torch.is_tensor, call))):
            return "expected two tensors: return input_ids, labels."
        if not all(part.shape == x.shape and part.dtype == x.dtype for part in call):
            return f"both tensors should have the shape of x, {tuple(x.shape)}, and hold whole numbers."
    (input_ids, labels), again = calls
    chosen, special = labels != -100, torch.isin(x, torch.tensor(special_ids))
    if chosen.all():
        return "you ask for every token. Where none was chosen, the label is -100."
    if (labels[chosen] != x[chosen]).any():
        return "a label is the token that stood there before, and -100 where none was chosen."
    if (chosen & (x == 0)).any():
        return "padding was chosen: its id is among special_ids, which are never asked for."
    if (chosen & special).any():
        return "a special token was chosen. Only tokens outside special_ids may be."
    if (input_ids != x)[~chosen].any():
        return "a token changed where nothing is asked: only chosen places may change."
    if not all(torch.equal(*pair) for pair in zip(calls[0], again, strict=True)):
        return "two calls with the same seed differ: draw with generator=generator, each time."
    if (chosen.sum(0) / (~special).sum(0).clamp(min=1)).max() > 0.5:  # by column
        return "all rows have their masks at the same places: draw for each token by itself."
    hidden, kept = input_ids[chosen] == mask_id, input_ids[chosen] == x[chosen]
    found = input_ids[chosen][~hidden & ~kept]
    total = int(chosen.sum())
    for name, count, of, expected in (
        ("are chosen, of those that may be", total, int((~special).sum()), 0.15),
        ("of the chosen become [MASK]", int(hidden.sum()), total, 0.80),
        ("of the chosen become another token", len(found), total, 0.10),
    ):
        if abs(count - of * expected) > SIGMAS * math.sqrt(of * expected * (1 - expected)):
            return f"{count / of:.1%} {name}; expected about {expected:.0%}."
    if len(found.unique()) < len(found) / 3:
        return "the random tokens are often the same: draw each from all vocab_size tokens."
    return ""


@check("a dict of layers, hidden_size and steps, all whole numbers")
def budget(answer: dict) -> Finding:
    if missing := [name for name in ("layers", "hidden_size", "steps") if name not in answer]:
        return f"your dict lacks {' and '.join(missing)}."
    for name, value in answer.items():
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
            return f"{name} is {value!r}: expected a whole number from 1."
    layers, hidden_size, steps = answer["layers"], answer["hidden_size"], answer["steps"]
    if hidden_size % HEAD_SIZE:
        return f"hidden_size is {hidden_size}: expected a multiple of {HEAD_SIZE}, the size of a head."
    config = {"hidden_size": hidden_size, "intermediate_size": 2 * hidden_size}
    config |= {"num_hidden_layers": layers, "vocab_size": VOCAB_SIZE}
    flop = steps * BATCH_SIZE * LENGTH * pretraining.flops_per_token(config, LENGTH)
    if flop > BUDGET_FLOP:
        most = int(steps * BUDGET_FLOP / flop)
        return f"{flop / 1e12:.2f} TFLOP of {BUDGET_FLOP / 1e12:.0f}: this shape can have {most:,} steps."
    if flop < 0.8 * BUDGET_FLOP:
        return f"that is {flop / BUDGET_FLOP:.0%} of the budget. What is left over teaches nothing: spend it."
    return f"Right: {flop / BUDGET_FLOP:.0%} of the budget. The cell that trains `answer` says what it buys."
