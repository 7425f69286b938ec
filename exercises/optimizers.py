"""Checks of “Optimizers”: a gradient by hand, Adam's first step, and a schedule that beats none."""

import math
from collections.abc import Callable, Sequence
from unittest import mock

import numpy as np
import torch
from torch.nn import functional as F

from helpers import assets, statistics

from .base import Finding, check, near, untouched

BATCH, SEEDS = 8, 16  # of the problem that schedules are tried on
BASE_RATE = {150: 2.8, 450: 2.8}  # steps: the constant learning rate that ends lowest, of seven from 0.5 to 4


@check("a function of (z, y, temperature) that returns an array of the shape of z", 1e-4)
def temperature_gradient(answer: Callable) -> Finding:
    for seed, batch, classes, temperature in ((3, 5, 4, 2.5), (4, 1, 2, 0.5), (5, 12, 10, 4.0)):
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(batch, classes, generator=generator, dtype=torch.float64)
        y = torch.randint(0, classes, (batch,), generator=generator)
        leaf = z.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(leaf / temperature, y), leaf)
        refused = mock.patch("torch.func.grad", side_effect=RuntimeError("no gradients here"))
        with torch.inference_mode(), refused:  # where autograd keeps no record
            try:
                got = torch.as_tensor(untouched(answer, z, y, temperature)).double()
            except RuntimeError as error:
                if "grad" in str(error):
                    return "autograd is switched off here: write down the formula that it would follow."
                raise
            if got.shape != z.shape:
                return f"your function returned the shape {tuple(got.shape)}; z has {tuple(z.shape)}."
            if not near(got, gradient, 1e-4):
                break
    cold = (torch.softmax(z, 1) - F.one_hot(y, classes)) / batch
    return got, {
        "Right: (softmax(z / T) - one-hot) / (T B). A high temperature also shrinks the gradient: 1 / T is "
        "one of the two factors that distillation's T squared makes up for.": gradient,
        "the chain rule's factor is missing: divide by the temperature once more.": gradient * temperature,
        "you multiply by the temperature; the chain rule divides.": gradient * temperature**2,
        "you divide by the temperature once too often.": gradient / temperature,
        "that is the gradient of the sum. The loss is a mean over the rows: divide.": gradient * batch,
        "both factors are missing, the chain rule's and the mean's.": gradient * temperature * batch,
        "the sign is turned: probability minus one-hot, not the other way around.": -gradient,
        "the temperature is missing: take the softmax of z / temperature, then apply the chain rule.": cold,
        "the chain rule is there, but the softmax should be that of z / temperature.": cold / temperature,
        f"the largest difference from autograd's gradient is {(got - gradient).abs().max():.3g}. Start from "
        "(softmax(z) - one-hot) / B, put z / temperature in, and apply the chain rule.": ...,
    }


@check("a number, by how much the weight changes at Adam's first step, with its sign", 0.005)
def adam_first_step(answer: float) -> Finding:
    learning_rate, gradient = 0.001, 250.0
    sgd, uncorrected = learning_rate * gradient, learning_rate * 0.1 / math.sqrt(0.001)
    if near(answer, learning_rate, 0.005):
        return "the size is right. The gradient is positive: which way does the loss fall?"
    return abs(answer), {
        "Right: both moments, once corrected, are the gradient and its square, so their ratio is 1 in "
        "size: the first step is the learning rate, whatever the gradient.": learning_rate,
        "that is SGD's step, learning rate times gradient. Adam divides by the root of v.": sgd,
        "the bias correction is missing: m is 0.1 g, v 0.001 g squared; divide by 1 - beta.": uncorrected,
        "follow both moments: m_hat = g, v_hat = g squared.": {learning_rate / 10, learning_rate / gradient},
        f"you say {answer:.4g}. What are m_hat and v_hat after one step, and m_hat / sqrt(v_hat)?": ...,
    }


def losses_with(multipliers: Sequence[float], learning_rate: float) -> torch.Tensor:
    """Train softmax regression by SGD in batches of 8, with 16 seeds at once; give the 16 losses at the end.

    Step t has the learning rate `multipliers[t] * learning_rate`. A seed's batches are always the same.
    """
    with np.load(assets.DATA / "digits" / "train.npz") as file:
        images, labels = torch.tensor(file["image"]), torch.tensor(file["label"]).long()
    pixels = F.avg_pool2d(images.reshape(-1, 1, 28, 28).float() / 255, 4).flatten(1)  # 7 x 7
    pixels, classes = F.pad(pixels, (0, 1), value=1.0), F.one_hot(labels, 10).float()  # a 1 for the bias
    generator = torch.Generator().manual_seed(1)
    W = torch.zeros(SEEDS, pixels.shape[1], classes.shape[1])
    for multiplier in multipliers:
        rows = torch.randint(len(pixels), (SEEDS, BATCH), generator=generator)
        x, y = pixels[rows], classes[rows]
        gradient = x.transpose(1, 2) @ (torch.softmax(x @ W, dim=-1) - y) / BATCH
        W = W - multiplier * learning_rate * gradient
    return -(torch.log_softmax(pixels @ W, dim=-1) * classes).sum(dim=-1).mean(dim=1)


@check("a function of (step, steps) that returns the multiplier of the learning rate at that step")
def schedule(answer: Callable) -> str:
    gains = []
    for steps, base in BASE_RATE.items():
        multipliers = [float(answer(step, steps)) for step in range(steps)]
        if not all(map(math.isfinite, multipliers)):
            return "a multiplier is no finite number. Is there a division by 0 at the first or the last step?"
        if min(multipliers) < 0:
            step = multipliers.index(min(multipliers))
            return f"the multiplier at step {step} of {steps} is negative: that step would go uphill."
        if max(multipliers) == 0:
            return "every multiplier is 0, so nothing is learned."
        if not (losses := losses_with(multipliers, base)).isfinite().all():
            return "some runs fly out: their loss is no finite number. Lower the highest multiplier."
        mean, low, high = statistics.mean_interval((losses_with([1.0] * steps, base) - losses).tolist())
        gains.append((low > 0, steps, f"{mean:+.3f} nats ({low:+.3f} to {high:+.3f})", multipliers))
    if all(max(multipliers) - min(multipliers) < 1e-6 * max(multipliers) for *_, multipliers in gains):
        return "that is a constant, and so is your rival, which has the best constant there is."
    told = " and ".join(f"{gain} in {steps} steps" for _, steps, gain, _ in gains)
    if all(better for better, *_ in gains):
        return f"Right: over {SEEDS} seeds your schedule ends lower than the best constant rate by {told}."
    _, steps, gain, multipliers = next(each for each in gains if not each[0])
    if any(better for better, *_ in gains):
        return f"it holds for one length of run only ({told}). Use `steps` where you have a fixed number."
    told = f"in {steps} steps it gains {gain} on the best constant; all of the interval must be above 0."
    if max(multipliers) < 0.1:
        return f"{told} Your multipliers are tiny: 1 is the rival's learning rate, not the rate itself."
    if multipliers[-1] >= multipliers[0] and multipliers[-1] == max(multipliers):
        return f"{told} It ends with its largest steps. When is the noise of small batches worst?"
    return f"{told} Where do you need long steps, and where does their noise hurt?"
