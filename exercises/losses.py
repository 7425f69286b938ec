"""Checks of “Losses”: loss formulas."""

import math
from collections.abc import Callable

from .base import Finding, check, near

VOCAB_SIZE = 30_522


@check(f"a number, the loss in nats of a model that finds all {VOCAB_SIZE:,} tokens equally likely", 0.005)
def untrained_loss(answer: float) -> Finding:
    """Check the cross-entropy of a uniform guess over BERT's vocabulary."""
    loss = float(answer)
    return loss, {
        "Right: the loss is the log of the vocabulary size, about 10.33 nats. A fresh BERT whose first "
        "loss is far above that has a bug in its labels or in its initial weights.": math.log(VOCAB_SIZE),
        "the size is right, the sign is not. The loss is *minus* the log of a probability "
        "below one, so it is positive.": -math.log(VOCAB_SIZE),
        "that is in bits (log base 2). PyTorch's losses are in nats: use math.log.": math.log2(VOCAB_SIZE),
        "that is log base 10. PyTorch's losses use the natural log: math.log.": math.log10(VOCAB_SIZE),
        "that is the perplexity, exp(loss). The loss is its natural log.": VOCAB_SIZE,
        "that is the probability of the right token. The loss is minus its natural log.": 1 / VOCAB_SIZE,
        f"you say {loss:.4g}. Each token gets the probability 1 / {VOCAB_SIZE:,}; what is minus the "
        "natural log of that?": ...,
    }


@check("a function of (logits, input_ids, attention_mask) that returns the mean loss as a tensor", 1e-4)
def causal_lm(answer: Callable) -> Finding:
    """Check a causal language-model loss that leaves padding out."""
    import torch
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(2)
    batch, length, vocab_size = 3, 7, 11
    logits = 2 * torch.randn(batch, length, vocab_size, generator=generator)
    input_ids = torch.randint(1, vocab_size, (batch, length), generator=generator)
    attention_mask = (torch.arange(length) < torch.tensor([[7], [4], [2]])).long()
    input_ids = input_ids * attention_mask
    got = answer(logits.clone(), input_ids.clone(), attention_mask.clone())
    if not isinstance(got, torch.Tensor) or got.numel() != 1:
        return f"your function returned {_kind(got)}. Return one mean, a tensor with one value."

    shifted = F.cross_entropy(logits[:, :-1].transpose(1, 2), input_ids[:, 1:], reduction="none")
    unshifted = F.cross_entropy(logits.transpose(1, 2), input_ids, reduction="none")
    backward = F.cross_entropy(logits[:, 1:].transpose(1, 2), input_ids[:, :-1], reduction="none")
    target_mask, source_mask = attention_mask[:, 1:].bool(), attention_mask[:, :-1].bool()
    per_row = (shifted * target_mask).sum(1) / target_mask.sum(1)
    loss, expected = got.item(), shifted[target_mask].mean().item()
    see = "Position t predicts token t + 1: drop the last logits and the first token."
    back = "you shifted the wrong way: position t should predict the token after it."
    return loss, {
        "Right: shifted by one, and averaged over the real targets only. However much padding a batch "
        "has, the loss stays the same.": expected,
        f"you score each position on the token it already sees, padding included. {see}": unshifted.mean(),
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
        f"on a batch of the check your loss is {loss:.4f} and should be {expected:.4f}. Shift by one, "
        "then average over the targets whose attention_mask is 1.": ...,
    }


@check("a function of (z, y, temperature) that returns a tensor of the shape of z", 1e-4)
def temperature_gradient(answer: Callable) -> Finding:
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
        return f"your function returned {_kind(got)}; z has the shape {tuple(logits.shape)}."
    got = got.detach().double()
    cold = (torch.softmax(logits, 1) - F.one_hot(y, classes)) / batch
    return got, {
        "Right: (softmax(z / T) - one-hot) / (T B). A high temperature also shrinks the gradient: that "
        "is why distillation multiplies its loss by T squared.": gradient,
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
        "the chain rule is there, but the softmax should be that of z / temperature.": cold / temperature,
        f"the largest difference from autograd's gradient is {(got - gradient).abs().max():.3g}. Start from "
        "(softmax(z) - one-hot) / B, put z / temperature in, and apply the chain rule.": ...,
    }


@check("a number, by how much the weight changes at Adam's first step, with its sign", 0.005)
def adam_first_step(answer: float) -> Finding:
    """Check the change of a weight at Adam's first step: learning rate 0.001, gradient 250."""
    learning_rate, gradient = 0.001, 250.0
    sgd, uncorrected = learning_rate * gradient, learning_rate * 0.1 / math.sqrt(0.001)
    if near(answer, learning_rate, 0.005):
        return "the size is right. The gradient is positive: which way does the loss fall?"
    return abs(answer), {
        "Right: both moments, once corrected, are the gradient and its square, so their ratio is 1 in "
        "size: the first step is the learning rate, whatever the gradient.": learning_rate,
        "that is SGD's step, learning rate times gradient. Adam divides by the root of v.": sgd,
        "you left the bias correction out: m is 0.1 g and v is 0.001 g squared after one step, "
        "and both are divided by 1 - beta to the power t first.": uncorrected,
        "close to the formula, but follow both moments: m_hat = g, v_hat = g squared. What is "
        "m_hat / sqrt(v_hat)?": {learning_rate * 0.1, learning_rate / gradient},
        f"you say {answer:.4g}. Write down m_hat and v_hat after one step from zero; what is left of "
        "the gradient in m_hat / sqrt(v_hat)?": ...,
    }


def _kind(got: object) -> str:
    return f"a tensor of shape {tuple(got.shape)}" if hasattr(got, "shape") else repr(got)
