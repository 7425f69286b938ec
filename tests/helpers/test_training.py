"""The loop learns, repeats itself, stops where it should and goes on after an interrupt."""

import gc
import platform
import signal
import weakref

import numpy as np
import psutil
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import get_linear_schedule_with_warmup, set_seed

from helpers import data, statistics, training
from tests.shared import interrupt_at, tiny_bert

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def model():
    return tiny_bert()


def fit(model, rows, tokenizer, **settings):
    settings = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "precision": "no", **settings}
    return training.fine_tune(model, rows, rows, tokenizer, **settings)


def test_it_learns_and_stops_at_the_target(model, rows, tokenizer):
    before = training.evaluate(model, rows, tokenizer)
    history = fit(model, rows, tokenizer, epochs=8, learning_rate=5e-3)
    after = training.evaluate(model, rows, tokenizer)
    assert after.accuracy > max(before.accuracy, 0.95)
    assert len(history.loss) == 8 * 8 and history.stopped == "end"
    assert [epoch["epoch"] for epoch in history.epochs] == list(range(1, 9))
    assert history.epochs[-1]["accuracy"] == after.accuracy
    assert history.epochs[0]["loss"] == pytest.approx(np.mean(history.loss[:8]))
    assert history.epochs[0]["seconds"] < history.epochs[1]["seconds"]
    history = fit(tiny_bert(), rows, tokenizer, epochs=10, target=0.9)
    *before, last = (epoch["accuracy"] >= 0.9 for epoch in history.epochs)
    assert history.stopped == "target" and len(before) < 9 and last and not any(before)


def test_it_is_the_loop_that_the_notebook_writes_out_and_the_seed_decides(rows, tokenizer, monkeypatch):
    model = tiny_bert()
    set_seed(5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule, losses = get_linear_schedule_with_warmup(optimizer, int(0.1 * 16), 16), []
    model.train()
    for epoch in range(2):
        for batch in data.batches(rows, tokenizer, 8, shuffle=True, seed=5 + epoch):
            output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            loss = torch.nn.functional.cross_entropy(output.logits, batch["labels"])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    runs = []
    for seed in (5, 5, 6):
        runs.append(fit(tiny_bert(), rows, tokenizer, epochs=2, seed=seed).loss)
        monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "16")  # another program's
        monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    np.testing.assert_allclose(runs[0], losses, atol=1e-4)
    assert runs[0] == runs[1] != runs[2]


def test_another_loss_takes_the_place_of_the_models_own(rows, tokenizer):
    seen = []

    def doubled(model, batch):
        seen.extend(batch.pop("index").tolist())
        return 2 * model(**batch).loss

    history = fit(tiny_bert(), rows, tokenizer, epochs=1, compute_loss=doubled)
    assert sorted(seen) == list(range(len(rows)))
    assert history.loss[0] == pytest.approx(2 * fit(tiny_bert(), rows, tokenizer, epochs=1).loss[0])


def test_an_interrupt_keeps_what_was_learned(rows, tokenizer, capfd, monkeypatch):
    whole, interrupted = fit(tiny_bert(), rows, tokenizer, epochs=1), tiny_bert()
    interrupt_at(interrupted, 5)
    history = fit(interrupted, rows, tokenizer, epochs=1)
    assert (history.stopped, history.loss, history.epochs) == ("interrupted", whole.loss[:5], [])
    assert "Interrupted after step 5 of 8. The model keeps" in "".join(capfd.readouterr())
    assert not torch.equal(interrupted.classifier.weight, tiny_bert().classifier.weight)
    monkeypatch.setattr(training, "evaluate", lambda *_: signal.raise_signal(signal.SIGINT))
    cut = fit(tiny_bert(), rows, tokenizer, epochs=1)
    assert (cut.stopped, cut.loss, cut.epochs) == ("interrupted", whole.loss, [])


def test_bad_settings(model, rows, tokenizer):
    for settings, message in (
        ({"epochs": 0}, "epochs is 0: expected a whole number from 1 to 1,000"),
        ({"learning_rate": 0}, "learning_rate is 0: expected a number"),
        ({"learning_rate": 50}, "learning_rate is 50: expected a number"),
        ({"warmup_fraction": -0.1}, "warmup_fraction is -0.1"),
        ({"target": 88}, "target is 88: expected a number from 0 to 1"),
        ({"precision": "fp16"}, "precision is 'fp16': expected 'bf16', 'no'"),
        ({"batch_size": 0}, "batch_size is 0: expected a whole number from 1"),
        ({"rate": 1e-4}, "There is no setting 'rate': expected epochs, batch_size, learning_rate, head_lea"),
    ):
        with pytest.raises(training.TrainingError, match=message):
            fit(model, rows, tokenizer, **settings)


def test_training_leaves_the_model_as_a_plain_model_which_is_freed_at_once(rows, tokenizer):
    model = tiny_bert()
    held = weakref.ref(model.classifier.weight)
    gc.disable()
    fit(model, rows, tokenizer, epochs=1, precision="bf16")
    assert not {"forward", "_original_forward"} & set(vars(model))  # no autocast left around it
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    model.forward = type(model).forward.__get__(model)  # somebody's own, which stays
    fit(model, rows, tokenizer, epochs=1, precision="no")  # another precision in the same process
    del model.forward, model  # the first is an AttributeError if it went
    gc.enable()
    assert held() is None


@pytest.mark.parametrize("peft", [False, True], ids=["bare", "LoRA"])
def test_the_head_is_what_training_starts_anew(model, peft):
    if peft:
        anew = {"modules_to_save": ["pooler", "classifier"]}
        model = get_peft_model(model, LoraConfig(r=2, target_modules=["query", "value"], **anew))
    names = {id(weight): name for name, weight in model.named_parameters()}
    head, body = ([names[id(weight)] for weight in part] for part in training.split_head(model))
    assert len(head) == 4 and all("pooler" in name for name in head[:2]) and "classifier" in head[2] + head[3]
    assert len(body) == (8 if peft else 37) and all(("lora" in name) is peft for name in body)
    assert all(weight.requires_grad for part in training.split_head(model) for weight in part)


def test_the_head_has_a_learning_rate_of_its_own_and_frozen_weights_stay(model, rows, tokenizer):
    before = tiny_bert().state_dict()
    model.bert.encoder.layer[0].requires_grad_(False)
    fit(model, rows, tokenizer, epochs=1, learning_rate=1e-8, head_learning_rate=1e-2)
    moved = {name: (weight - before[name]).abs().max() for name, weight in model.named_parameters()}
    assert 0 < moved["bert.embeddings.word_embeddings.weight"] < 1e-5 < 1e-3 < moved["classifier.weight"]
    assert not any(size for name, size in moved.items() if "layer.0" in name)


@pytest.mark.parametrize(("precision", "inside"), [("bf16", [False, True]), ("no", [True, False])])
def test_in_bf16_on_a_cpu_attention_is_plain_products_and_the_switches_go_back(precision, inside):
    names = ("flash_sdp_enabled", "fp16_bf16_reduction_math_sdp_allowed")
    with pytest.raises(ZeroDivisionError), training.attention(training.new_accelerator(precision)):
        assert torch.cuda.is_available() or [getattr(torch.backends.cuda, name)() for name in names] == inside
        raise ZeroDivisionError
    assert [getattr(torch.backends.cuda, name)() for name in names] == [True, False]


@pytest.mark.parametrize("mode", [True, False])
def test_evaluation_depends_on_no_batches_and_leaves_the_mode(model, rows, tokenizer, mode):
    model.train(mode)
    one, many = (training.evaluate(model, rows, tokenizer, batch_size) for batch_size in (1, 64))
    np.testing.assert_allclose(one.probabilities, many.probabilities, atol=1e-5)
    assert one.labels.tolist() == rows["label"][:] and one.confusion.sum() == len(rows)
    assert model.training is mode


def test_score_by_hand_and_when_one_class_is_never_predicted():
    chances = np.array([0.9, 0.8, 0.2, 0.7, 0.1])
    result = training.score(np.array([1, 1, 1, 0, 0]), np.stack([1 - chances, chances], axis=1))
    assert result.accuracy == pytest.approx(3 / 5) and result.interval == statistics.wilson(3, 5)
    assert result.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))  # 2 TP, 1 FP, 1 FN
    assert result.confusion.tolist() == [[1, 1], [1, 2]] and str(result).endswith("F1 0.667, 5 rows")
    result = training.score(np.array([0, 1, 0]), np.array([[0.9, 0.1]] * 3))
    assert result.f1 == 0 and result.confusion.tolist() == [[2, 0], [1, 0]]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep less, and have no trim")
def test_freed_memory_goes_back_to_the_system():
    blocks = [torch.ones(20_000) for _ in range(1_000)]  # 80 MB in pieces too small to be mapped one by one
    last = torch.ones(20_000)  # holds the end of the heap, which would otherwise shrink by itself
    del blocks
    before = psutil.Process().memory_info().rss
    training.release_memory()
    assert last.sum() == 20_000 and before - psutil.Process().memory_info().rss > 60e6
