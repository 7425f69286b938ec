"""The formulas of “Losses” and “Optimizers”, from their own cells tagged `formula`, against PyTorch."""

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


@pytest.mark.parametrize("shape", [(1, 2), (5, 3), (64, 10), (2, 30_522)])
def test_softmax_and_cross_entropy(formulas, shape):
    z, y = 3 * torch.randn(shape), torch.randint(shape[1], shape[:1])
    torch.testing.assert_close(formulas.softmax_naive(z), torch.softmax(z, -1))
    torch.testing.assert_close(formulas.cross_entropy_naive(z, y), F.cross_entropy(z, y))
    torch.testing.assert_close(formulas.log_softmax(z), F.log_softmax(z, -1))
    torch.testing.assert_close(formulas.cross_entropy(z, y), F.cross_entropy(z, y))


@pytest.mark.parametrize("scale", [1e-30, 100.0, 1e4, 1e30])
def test_stable_where_the_naive_form_is_not(formulas, scale):
    z, y = scale * torch.tensor([[2.0, 1.0, -1.0], [0.5, 0.0, 3.0]]), torch.tensor([1, 0])
    torch.testing.assert_close(formulas.cross_entropy(z, y), F.cross_entropy(z, y))
    if scale >= 100:
        assert not torch.isfinite(formulas.cross_entropy_naive(z, y))


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
def test_masked_lm_of_masked_positions_alone_of_none_nan_and_the_sum_with_next_sentence(formulas, share):
    logits, labels = torch.randn(4, 9, 20), torch.randint(0, 20, (4, 9))
    labels[torch.rand(labels.shape) >= share] = -100
    logits[labels == -100] *= 50
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    assert expected.isnan() == (share == 0)
    torch.testing.assert_close(formulas.masked_lm_loss(logits, labels), expected, equal_nan=True)
    nsp, c = torch.randn(4, 2), torch.randint(2, (4,))
    both, expected = formulas.pretraining_loss(logits, labels, nsp, c), expected + F.cross_entropy(nsp, c)
    torch.testing.assert_close(both, expected, equal_nan=True)


@pytest.mark.parametrize("shape", [(1, 2, 5), (3, 12, 50)])
def test_causal_lm_and_the_perplexity_of_a_uniform_guess(formulas, shape):
    logits, input_ids = torch.randn(shape), torch.randint(0, shape[-1], shape[:2])
    expected = F.cross_entropy(logits[:, :-1].reshape(-1, shape[-1]), input_ids[:, 1:].reshape(-1))
    torch.testing.assert_close(formulas.causal_lm_loss(logits, input_ids), expected)
    loss = formulas.causal_lm_loss(torch.zeros(2, 8, 37), torch.randint(0, 37, (2, 8)))
    assert formulas.perplexity(loss).item() == pytest.approx(37, rel=1e-5)


@pytest.mark.parametrize(("pairs", "temperature"), [(1, 0.05), (6, 1.0), (40, 0.1)])
def test_info_nce_and_distillation(formulas, pairs, temperature):
    a, b = torch.randn(pairs, 12), 5 * torch.randn(pairs, 12)
    cosines = F.cosine_similarity(a[:, None], b[None], dim=-1)
    expected = F.cross_entropy(cosines / temperature, torch.arange(pairs))
    torch.testing.assert_close(formulas.info_nce(a, b, temperature), expected)
    log_q, log_p = (F.log_softmax(z / temperature, -1) for z in (a, b))
    expected = temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    torch.testing.assert_close(formulas.distillation_loss(a, b, temperature), expected)


def test_calibration_error_of_the_sure_and_right_of_the_sure_and_wrong_and_of_a_fair_coin(formulas):
    sure, right = torch.tensor([1.0, 1.0, 0.5, 0.5]), torch.tensor([True, False, True, False])
    rows, error = formulas.calibration(sure, right)
    assert rows == [(2, 0.5, 1), (2, 1.0, 1)] and error == pytest.approx(0.25)


@pytest.mark.parametrize(("rows", "pixels", "count"), [(1, 1, 2), (7, 5, 3), (32, 49, 10)])
def test_three_gradients_agree(formulas, rows, pixels, count):
    x, y = torch.randn(rows, pixels).double(), torch.randint(count, (rows,))
    W, b = torch.randn(pixels, count).double(), torch.randn(count).double()
    by_hand, by_autograd = formulas.gradient_by_hand(W, b, x, y), formulas.gradient_by_autograd(W, b, x, y)
    torch.testing.assert_close(by_hand, by_autograd)
    of_W = formulas.gradient_by_differences(lambda W: formulas.regression_loss(W, b, x, y), W)
    of_b = formulas.gradient_by_differences(lambda b: formulas.regression_loss(W, b, x, y), b)
    torch.testing.assert_close((of_W, of_b), by_hand, atol=1e-8, rtol=1e-6)


def follow(step, options, twin, twins_options, penalty=0.0):
    """Take 20 steps of ours and of PyTorch's on the same changing loss; return both ends."""
    target = torch.randn(6, 3, dtype=torch.float64)
    ours, state = torch.ones(6, 3, dtype=torch.float64), {}
    theirs = ours.clone().requires_grad_()
    optimizer = twin([theirs], lr=0.05, **twins_options)
    for t in range(20):
        g = (ours - target) ** 3 + math.sin(t)
        ours = step(ours, g + penalty * ours, state, lr=0.05, **options)
        theirs.grad = (theirs.detach() - target) ** 3 + math.sin(t)
        optimizer.step()
    return ours, theirs.detach()


def test_optimizer_equals_its_twin(formulas):
    for name, options, twin, twins_options in (
        ("sgd", {}, SGD, {}),
        ("momentum", {}, SGD, {"momentum": 0.9}),
        ("momentum", {"mu": 0.5}, SGD, {"momentum": 0.5}),
        ("adam", {}, Adam, {}),
        ("adam", {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}, Adam, {"betas": (0.8, 0.95), "eps": 1e-3}),
        ("adamw", {}, AdamW, {}),
        ("adamw", {"weight_decay": 0.3, "beta1": 0.5}, AdamW, {"weight_decay": 0.3, "betas": (0.5, 0.999)}),
    ):
        torch.testing.assert_close(*follow(getattr(formulas, name), options, twin, twins_options))


def test_l2_penalty_in_adam_is_adams_weight_decay_and_not_adamws(formulas):
    ours, adam = follow(formulas.adam, {}, Adam, {"weight_decay": 0.3}, penalty=0.3)
    torch.testing.assert_close(ours, adam)
    torch.manual_seed(0)
    _, adamw = follow(formulas.adam, {}, AdamW, {"weight_decay": 0.3})
    assert (ours - adamw).abs().max() > 0.01
