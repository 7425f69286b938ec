"""The formulas of “Losses” and “Optimizers”, which hold them beside PyTorch's themselves, at other inputs."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from tests.shared import run_cells

SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def formulas():
    names = {"math": math, "torch": torch, "F": F}
    for topic in ("losses", "optimizers"):
        names = run_cells(topic, "formula", **names)
    return SimpleNamespace(**names)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(1, 2), (64, 10), (2, 30_522)])
@pytest.mark.parametrize("scale", [1e-30, 3.0, 1e4, 1e30])
def test_cross_entropy_of_any_size_and_its_naive_form_of_small_scores(formulas, shape, scale):
    z, y = scale * torch.randn(shape), torch.randint(shape[1], shape[:1])
    expected, naive = F.cross_entropy(z, y), formulas.cross_entropy_naive(z, y)
    torch.testing.assert_close(formulas.cross_entropy(z, y), expected)
    assert torch.allclose(naive, expected) if scale < 100 else not torch.isfinite(naive)


def test_masked_lm_of_all_positions_is_the_mean_and_of_none_nan_and_one_pair_costs_nothing(formulas):
    logits, labels = torch.randn(4, 9, 20), torch.randint(0, 20, (4, 9))
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(formulas.masked_lm_loss(logits, labels), expected)
    assert formulas.masked_lm_loss(logits, torch.full_like(labels, -100)).isnan()
    assert formulas.info_nce(logits[0, :1], logits[1, :1]).item() == 0


def test_calibration_error_of_the_sure_and_right_of_the_sure_and_wrong_and_of_a_fair_coin(formulas):
    sure, right = torch.tensor([1.0, 1.0, 0.5, 0.5]), torch.tensor([True, False, True, False])
    rows, error = formulas.calibration(sure, right)
    assert rows == [(2, 0.5, 1), (2, 1.0, 1)] and error == pytest.approx(0.25)


def follow(step, options, twin, twins_options, penalty=0.0):
    """Take 20 steps of ours and of PyTorch's on the same changing loss; return both ends."""
    target = torch.randn(6, 3, dtype=torch.float64)
    ours, state = torch.ones(6, 3, dtype=torch.float64), {}
    theirs = ours.clone().requires_grad_()
    optimizer = twin([theirs], lr=0.05, **twins_options)
    for t in range(20):
        ours = step(ours, (ours - target) ** 3 + math.sin(t) + penalty * ours, state, lr=0.05, **options)
        theirs.grad = (theirs.detach() - target) ** 3 + math.sin(t)
        optimizer.step()
    return ours, theirs.detach()


def test_optimizer_equals_its_twin_whatever_its_options(formulas):
    for name, options, twin, twins_options in (
        ("momentum", {"mu": 0.5}, SGD, {"momentum": 0.5}),
        ("adam", {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}, Adam, {"betas": (0.8, 0.95), "eps": 1e-3}),
        ("adamw", {"weight_decay": 0.3, "beta1": 0.5}, AdamW, {"weight_decay": 0.3, "betas": (0.5, 0.999)}),
    ):
        torch.testing.assert_close(*follow(getattr(formulas, name), options, twin, twins_options))


def test_l2_penalty_in_adam_is_adams_weight_decay_and_not_adamws(formulas):
    ours, adam = follow(formulas.adam, {}, Adam, {"weight_decay": 0.3}, penalty=0.3)
    torch.testing.assert_close(ours, adam)
    torch.manual_seed(0)
    _, adamw = follow(formulas.adam, {}, AdamW, {"weight_decay": 0.3})
    assert (ours - adamw).abs().max() > 0.01
