"""Checks of the exercises in “Losses”, loss formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from .base import Verdict, check, not_yet, right

if TYPE_CHECKING:
    import torch

__all__ = [
    "adam_first_step",
    "causal_lm",
    "temperature_gradient",
    "untrained_loss",
]

VOCAB_SIZE = 30_522


def _near(value: float, target: float, tolerance: float = 0.005) -> bool:
    return math.isclose(value, target, rel_tol=tolerance)


@check(f"a number, the loss in nats of a model that finds all {VOCAB_SIZE:,} tokens equally likely")
def untrained_loss(answer: float) -> Verdict:
    """Check the cross-entropy of a uniform guess over BERT's vocabulary."""
    loss = float(answer)
    if _near(loss, math.log(VOCAB_SIZE)):
        return right(
            "the loss is the log of the vocabulary size, about 10.33 nats. A fresh BERT whose first "
            "loss is far above that has a bug in its labels or in its initial weights."
        )
    if _near(loss, -math.log(VOCAB_SIZE)):
        return not_yet(
            "the size is right, the sign is not. The loss is *minus* the log of a probability "
            "below one, so it is positive."
        )
    if _near(loss, math.log2(VOCAB_SIZE)):
        return not_yet("that is in bits (log base 2). PyTorch's losses are in nats: use math.log.")
    if _near(loss, math.log10(VOCAB_SIZE)):
        return not_yet("that is log base 10. PyTorch's losses use the natural log: math.log.")
    if _near(loss, VOCAB_SIZE):
        return not_yet("that is the perplexity, exp(loss). The loss is its natural log.")
    if _near(loss, 1 / VOCAB_SIZE):
        return not_yet("that is the probability of the right token. The loss is minus its natural log.")
    return not_yet(
        f"you say {loss:.4g}. Each token gets the probability 1 / {VOCAB_SIZE:,}; what is minus the "
        "natural log of that?"
    )


@check("a function of (logits, input_ids, attention_mask) that returns the mean loss as a tensor")
def causal_lm(answer: Callable[..., torch.Tensor]) -> Verdict:
    """Check a causal language-model loss that leaves padding out."""
    import torch
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(2)
    batch, length, vocab_size = 3, 7, 11
    logits = 2 * torch.randn(batch, length, vocab_size, generator=generator)
    input_ids = torch.randint(1, vocab_size, (batch, length), generator=generator)
    attention_mask = (torch.arange(length) < torch.tensor([[7], [4], [2]])).long()
    input_ids = input_ids * attention_mask

    def token_losses(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(scores.transpose(1, 2), targets, reduction="none")

    shifted = token_losses(logits[:, :-1], input_ids[:, 1:])
    unshifted = token_losses(logits, input_ids)
    backward = token_losses(logits[:, 1:], input_ids[:, :-1])
    target_mask, source_mask = attention_mask[:, 1:].bool(), attention_mask[:, :-1].bool()
    per_row = (shifted * target_mask).sum(1) / target_mask.sum(1)

    got = answer(logits.clone(), input_ids.clone(), attention_mask.clone())
    if not isinstance(got, torch.Tensor) or got.numel() != 1:
        what = f"a tensor of shape {tuple(got.shape)}" if hasattr(got, "shape") else repr(got)
        return not_yet(f"your function returned {what}. Return one mean, a tensor with one value.")
    loss = got.item()
    see = "Position t predicts token t + 1: drop the last logits and the first token."
    back = "you shifted the wrong way: position t should predict the token after it."
    slips = {
        f"you score each position on the token it already sees, padding included. {see}": (unshifted.mean()),
        f"padding is out, but nothing is shifted. {see}": unshifted[attention_mask.bool()].mean(),
        back: backward[source_mask].mean(),
        f"{back} And the padding counts.": backward.mean(),
        "the shift is right, but the padding counts. Leave out the targets where attention_mask "
        "is 0.": shifted.mean(),
        "nearly: you used the mask of the position that predicts. Use the mask of its target, "
        "attention_mask[:, 1:].": shifted[source_mask].mean(),
        "the padded losses are zeroed but still counted. Divide by the number of real targets, not "
        "by all of them.": (shifted * target_mask).mean(),
        "that is the sum. Divide by the number of real targets.": shifted[target_mask].sum(),
        "that averages each sentence first, so a token of a short sentence weighs more. Average "
        "over all real targets at once.": per_row.mean(),
    }
    if _near(loss, shifted[target_mask].mean().item(), 1e-4):
        return right(
            "shifted by one, and averaged over the real targets only. However much padding a batch "
            "has, the loss stays the same."
        )
    for message, wrong in slips.items():
        if _near(loss, wrong.item(), 1e-4):
            return not_yet(message)
    return not_yet(
        f"on a batch of the check your loss is {loss:.4f} and should be "
        f"{shifted[target_mask].mean().item():.4f}. Shift by one, then average over the targets "
        "whose attention_mask is 1."
    )


@check("a function of (z, y, temperature) that returns a tensor of the shape of z")
def temperature_gradient(answer: Callable[..., torch.Tensor]) -> Verdict:
    """Check the gradient of a mean cross-entropy at a temperature, with respect to the logits."""
    import torch
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(3)
    batch, classes, temperature = 5, 4, 2.5
    z = torch.randn(batch, classes, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, classes, (batch,), generator=generator)
    F.cross_entropy(z / temperature, y).backward()
    gradient, logits = z.grad, z.detach()

    got = answer(logits.clone(), y.clone(), temperature)
    if not isinstance(got, torch.Tensor) or got.shape != logits.shape:
        what = f"a tensor of shape {tuple(got.shape)}" if hasattr(got, "shape") else repr(got)
        return not_yet(f"your function returned {what}; z has the shape {tuple(logits.shape)}.")
    got = got.detach().double()
    cold = (torch.softmax(logits, 1) - F.one_hot(y, classes)) / batch
    slips = {
        "the chain rule has one more factor: z / temperature grows by 1 / temperature when z grows "
        "by 1. Divide by the temperature once more.": gradient * temperature,
        "you multiply by the temperature; the chain rule divides.": gradient * temperature**2,
        "you divide by the temperature once too often.": gradient / temperature,
        "that is the gradient of the sum. The loss is a mean over the batch: divide by the number "
        "of rows.": gradient * batch,
        "two factors are missing: 1 / temperature from the chain rule and 1 / (number of rows) from "
        "the mean.": gradient * temperature * batch,
        "the sign is turned: probability minus one-hot, not the other way round.": -gradient,
        "the temperature is missing: take the softmax of z / temperature, then apply the chain rule.": cold,
        "the chain rule is there, but the softmax should be that of z / temperature.": (cold / temperature),
    }
    if torch.allclose(got, gradient, rtol=1e-4, atol=1e-7):
        return right(
            "(softmax(z / T) - one-hot) / (T B). A high temperature also shrinks the gradient: that "
            "is why distillation multiplies its loss by T squared."
        )
    for message, wrong in slips.items():
        if torch.allclose(got, wrong, rtol=1e-4, atol=1e-7):
            return not_yet(message)
    worst = (got - gradient).abs().max().item()
    return not_yet(
        f"the largest difference from autograd's gradient is {worst:.3g}. Start from "
        "(softmax(z) - one-hot) / B, put z / temperature in, and apply the chain rule."
    )


@check("a number, by how much the weight changes at Adam's first step, with its sign")
def adam_first_step(answer: float) -> Verdict:
    """Check the change of a weight at Adam's first step: learning rate 0.001, gradient 250."""
    change = float(answer)
    learning_rate, gradient = 0.001, 250.0
    if _near(change, -learning_rate):
        return right(
            "both moments, once corrected, are the gradient and its square, so their ratio is 1 in "
            "size: the first step is the learning rate, whatever the gradient."
        )
    if _near(change, learning_rate):
        return not_yet("the size is right. The gradient is positive: which way does the loss fall?")
    if _near(abs(change), learning_rate * gradient):
        return not_yet("that is SGD's step, learning rate times gradient. Adam divides by the root of v.")
    if _near(abs(change), learning_rate * 0.1 / math.sqrt(0.001)):
        return not_yet(
            "you left the bias correction out: m is 0.1 g and v is 0.001 g squared after one step, "
            "and both are divided by 1 - beta to the power t first."
        )
    if _near(abs(change), learning_rate * 0.1) or _near(abs(change), learning_rate / gradient):
        return not_yet(
            "close to the formula, but follow both moments: m_hat = g, v_hat = g squared. What is "
            "m_hat / sqrt(v_hat)?"
        )
    return not_yet(
        f"you say {change:.4g}. Write down m_hat and v_hat after one step from zero; what is left of "
        "the gradient in m_hat / sqrt(v_hat)?"
    )
