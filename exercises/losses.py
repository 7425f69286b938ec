"""Checks of “Losses”: loss formulas, and a test that tells a sound loss from a broken one."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Finding, check, near, untouched

VOCAB_SIZE = 30_522


@check(f"a number, the loss in nats of a model that finds all {VOCAB_SIZE:,} tokens equally likely", 0.005)
def untrained_loss(answer: float) -> Finding:
    loss = float(answer)
    return loss, {
        "Right: the loss is the log of the vocabulary size, about 10.33 nats. A fresh BERT whose first "
        "loss is far above that has a bug in its labels or in its initial weights.": math.log(VOCAB_SIZE),
        "the size is right, the sign is not: a loss is *minus* a log, so positive.": -math.log(VOCAB_SIZE),
        "that is in bits (log base 2). PyTorch's losses are in nats: use math.log.": math.log2(VOCAB_SIZE),
        "that is log base 10. PyTorch's losses use the natural log: math.log.": math.log10(VOCAB_SIZE),
        "that is the perplexity, exp(loss). The loss is its natural log.": VOCAB_SIZE,
        "that is the probability of the right token. The loss is minus its natural log.": 1 / VOCAB_SIZE,
        f"you say {loss:.4g}. Each token gets 1 / {VOCAB_SIZE:,}; what is minus its natural log?": ...,
    }


@check("a function of (logits, input_ids, attention_mask) that returns the mean loss", 1e-4)
def causal_lm(answer: Callable) -> Finding:
    for seed, lengths, vocab_size in ((2, [7, 4, 2], 11), (5, [4, 6], 5), (6, [3], 20), (7, [2, 9], 3)):
        generator = torch.Generator().manual_seed(seed)
        attention_mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
        logits = 2 * torch.randn(*attention_mask.shape, vocab_size, generator=generator)
        input_ids = attention_mask * torch.randint(1, vocab_size, attention_mask.shape, generator=generator)
        got = torch.as_tensor(untouched(answer, logits, input_ids, attention_mask))
        if got.numel() != 1:
            return f"your function returned a tensor of shape {tuple(got.shape)}. Return one mean."
        labels = input_ids[:, 1:].masked_fill(attention_mask[:, 1:] == 0, -100)
        expected = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels)
        if not near(got, expected, 1e-4):
            break
    shifted = F.cross_entropy(logits[:, :-1].transpose(1, 2), input_ids[:, 1:], reduction="none")
    unshifted = F.cross_entropy(logits.transpose(1, 2), input_ids, reduction="none")
    backward = F.cross_entropy(logits[:, 1:].transpose(1, 2), input_ids[:, :-1], reduction="none")
    target_mask, source_mask = attention_mask[:, 1:].bool(), attention_mask[:, :-1].bool()
    per_row = (shifted * target_mask).sum(1) / target_mask.sum(1)
    see = "Position t predicts token t + 1: drop the last logits and the first token."
    back = "you shifted the wrong way: position t should predict the token after it."
    return got, {
        "Right: shifted by one, and averaged over the real targets only. However much padding a batch has, "
        "the loss stays the same.": expected,
        f"you score each position on the token it already sees, padding included. {see}": unshifted.mean(),
        f"padding is out, but nothing is shifted. {see}": unshifted[attention_mask.bool()].mean(),
        back: backward[source_mask].mean(),
        f"{back} And the padding counts.": backward.mean(),
        "the shift is right, but padding counts. Leave out the targets whose mask is 0.": shifted.mean(),
        "nearly: use the mask of the *target*, attention_mask[:, 1:].": shifted[source_mask].mean(),
        "padding is zeroed but counted: divide by the real targets.": (shifted * target_mask).mean(),
        "that is the sum. Divide by the number of real targets.": shifted[target_mask].sum(),
        "that averages each sentence first; average over all real targets at once.": per_row.mean(),
        f"on a batch of {len(logits)} your loss is {got.item():.4f} and should be {expected:.4f}. Shift by "
        "one, then average over the targets whose attention_mask is 1.": ...,
    }


def _each(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Give which positions are hidden, and the loss at each position, 0 where nothing is."""
    return labels != -100, F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")


def suspect_a(logits: Tensor, labels: Tensor) -> Tensor:  # each claims to be the masked language-model loss
    return _each(logits, labels)[1].mean()


def suspect_b(logits: Tensor, labels: Tensor) -> Tensor:
    M, losses = _each(logits, labels)
    return (losses.sum(dim=1) / M.sum(dim=1)).mean()


def suspect_c(logits: Tensor, labels: Tensor) -> Tensor:
    p = logits.exp() / logits.exp().sum(dim=-1, keepdim=True)
    M = labels != -100
    return -p[M].gather(-1, labels[M][:, None]).log().mean()


SOUND = (  # two ways to write the loss as it should be
    lambda logits, labels: F.cross_entropy(logits.flatten(0, 1), labels.flatten()),
    lambda logits, labels: _each(logits, labels)[1].sum() / (labels != -100).sum(),
)

BROKEN: dict[str, Callable] = {  # by what is wrong: the three suspects, and others nobody was shown
    "divides by all positions, hidden or not (suspect A)": suspect_a,
    "averages each sentence first, and then the sentences (suspect B)": suspect_b,
    "overflows where logits are large (suspect C)": suspect_c,
    "leaves out the token 0 like padding": lambda z, y: F.cross_entropy(z.mT, y.where(y > 0, -100)),
    "takes a -100 for the token 0": lambda z, y: F.cross_entropy(z.transpose(1, 2), y.clamp(min=0)),
    "shifts the labels by one": lambda z, y: F.cross_entropy(z[:, :-1].transpose(1, 2), y[:, 1:]),
    "takes the softmax twice": lambda z, y: F.cross_entropy(torch.softmax(z, -1).transpose(1, 2), y),
    "adds up and never divides": lambda z, y: _each(z, y)[1].sum(),
    "looks at the first sentence alone": lambda z, y: F.cross_entropy(z[0], y[0]),
}


@check("a function of a loss function that returns True if that one is sound, and False if it is broken")
def find_broken(answer: Callable) -> str:
    def passes(loss: Callable) -> bool:
        verdict = answer(loss)
        if verdict not in (True, False):
            raise TypeError(f"it returned {verdict!r} where True or False was expected")
        return bool(verdict)

    sound = [passes(loss) for loss in SOUND]
    missed = [slip for slip, loss in BROKEN.items() if passes(loss)]
    if not any(sound):
        if missed:
            return "your test has it the wrong way around: True is for a sound loss, False for a broken one."
        return "your test calls every loss broken, the sound ones too. Does `masked_lm_loss` pass it?"
    if not all(sound):
        return "two ways to write the sound loss differ in the last digits, and your test refuses one."
    if len(missed) == len(BROKEN):
        return "every loss passes your test, broken or not. On which input do A and a sound loss differ?"
    if missed:
        return f"{len(missed)} of {len(BROKEN)} broken losses still pass. One of them {missed[0]}."
    return (
        f"Right: your test lets sound losses pass and stops {len(BROKEN)} broken ones, the three suspects "
        "among them. It took an input on which each bug makes a difference; most inputs hide most bugs."
    )
