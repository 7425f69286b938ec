"""The loop learns, repeats itself, stops where it should and goes on after an interrupt."""

import copy
import functools
import json
import platform
import shutil
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
import tokenizers
import torch
from peft import LoraConfig, get_peft_model
from transformers import get_linear_schedule_with_warmup, set_seed

from helpers import checkpoints, data, statistics, training
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


def test_it_is_the_loop_that_the_notebook_writes_out_and_the_seed_decides(rows, tokenizer):
    model = tiny_bert()
    set_seed(5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.1 * 16), 16)
    losses = []
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
    runs = [fit(tiny_bert(), rows, tokenizer, epochs=2, seed=seed).loss for seed in (5, 5, 6)]
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


@pytest.mark.parametrize(("stops", "same"), [([3], False), ([11, 16], False), ([11, 14], True)])
def test_an_interrupt_keeps_all_and_the_next_call_goes_on(rows, tokenizer, tmp_path, capfd, stops, same):
    """With the same model, or with a new one: another kernel, another day. It may be interrupted, too."""
    whole, model, before = fit(tiny_bert(), rows, tokenizer), tiny_bert(), 0
    for stop in stops:
        interrupt = interrupt_at(model, stop - before)
        cut = fit(model, rows, tokenizer, checkpoint=tmp_path / "state")
        assert (cut.stopped, cut.loss) == ("interrupted", whole.loss[:stop])
        assert f"Interrupted after step {stop} of 24" in "".join(capfd.readouterr())
        interrupt.remove()
        model, before = model if same else tiny_bert(), stop
    resumed = fit(model, rows, tokenizer, checkpoint=tmp_path / "state")
    assert (resumed.stopped, resumed.loss, len(resumed.epochs)) == ("end", whole.loss, 3)
    assert list(tmp_path.iterdir()) == []  # nothing to go on with: the next call starts anew


def test_an_interrupt_in_validation_and_one_without_checkpoint(rows, tokenizer, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate", lambda *_: signal.raise_signal(signal.SIGINT))
        cut = fit(tiny_bert(), rows, tokenizer, epochs=1, checkpoint=tmp_path / "state")
    assert cut.stopped == "interrupted" and len(cut.loss) == 8 and cut.epochs == []
    resumed = fit(tiny_bert(), rows, tokenizer, epochs=1, checkpoint=tmp_path / "state")
    assert resumed.loss == cut.loss and len(resumed.epochs) == 1
    interrupt_at(model := tiny_bert(), 5)
    history = fit(model, rows, tokenizer, epochs=1)
    assert history.stopped == "interrupted" and history.loss == cut.loss[:5]


@pytest.fixture
def state(rows, tokenizer, tmp_path):
    """The checkpoint of a run that was interrupted at step 11."""
    interrupt_at(model := tiny_bert(), 11)
    fit(model, rows, tokenizer, checkpoint=tmp_path / "state")
    return tmp_path / "state"


def refused(message, model, rows, tokenizer, checkpoint, **others):
    """The call is refused, and the model isn't changed."""
    before = checkpoints.weights_digest(model)
    with pytest.raises(training.TrainingError, match=f"{message}.*Give another"):
        fit(model, rows, tokenizer, checkpoint=checkpoint, **others)
    assert checkpoints.weights_digest(model) == before


def test_neither_a_refusal_nor_an_interrupt_costs_a_checkpoint(state, rows, tokenizer, monkeypatch):
    before = (state / "settings.json").read_text()
    refused("made with epochs 3: (?=.*folder, or del)", tiny_bert(), rows, tokenizer, state, epochs=5)
    with monkeypatch.context() as patch:  # while it is looked at
        patch.setattr(checkpoints, "wrong_files", lambda *_: signal.raise_signal(signal.SIGINT))
        assert fit(tiny_bert(), rows, tokenizer, checkpoint=state).stopped == "interrupted"
    assert (state / "settings.json").read_text() == before
    assert fit(tiny_bert(), rows, tokenizer, checkpoint=state, target=0.0).stopped == "target"


def scaled_loss(factor):
    return lambda model, batch: factor * training._own_loss(model, batch)


def test_a_checkpoint_of_anything_else_is_refused(state, rows, tokenizer):
    labels = rows["label"][:]
    flipped = rows.remove_columns("label").add_column("label", [1 - labels[0], *labels[1:]])
    words = copy.deepcopy(tokenizer)  # as many, and one of them is another
    vocabulary = words.backend_tokenizer.to_str().replace('"film":', '"filmx":')
    words._tokenizer = tokenizers.Tokenizer.from_str(vocabulary)
    one_weight, frozen = tiny_bert(), tiny_bert()
    with torch.no_grad():
        one_weight.bert.encoder.layer[1].output.dense.weight[3, 5] += 1e-4
    frozen.bert.embeddings.requires_grad_(False)
    for what, model, train, other_words in (
        ("training data, another validation data", tiny_bert(), flipped, tokenizer),
        ("training data", tiny_bert(), rows.select([1, 0, *range(2, len(rows))]), tokenizer),
        ("tokenizer", tiny_bert(), rows, words),
        ("model", tiny_bert(num_attention_heads=4), rows, tokenizer),
        ("model, another starting weights", tiny_bert(hidden_size=16), rows, tokenizer),
        ("model", frozen, rows, tokenizer),
        ("starting weights", one_weight, rows, tokenizer),
    ):
        refused(f"was made with another {what}", model, train, other_words, state)
    refused("made with another loss:", tiny_bert(), rows, tokenizer, state, compute_loss=scaled_loss(2.0))
    resumed = fit(tiny_bert(), rows, tokenizer, checkpoint=state)
    assert resumed.loss == fit(tiny_bert(), rows, tokenizer).loss, "and it is still that of its own call"


def test_an_adapter_of_another_rank_and_a_loss_with_another_number_are_others():
    configs = [LoraConfig(r=rank, target_modules=["query"]) for rank in (2, 2, 4)]
    two, again, four = (get_peft_model(tiny_bert(), config) for config in configs)
    for digest in (checkpoints.model_digest, checkpoints.weights_digest):
        assert digest(two) == digest(again) != digest(four)
    losses = [scaled_loss(2.0), scaled_loss(2.0), scaled_loss(0.5), training._own_loss, max]
    losses += [functools.partial(training._own_loss, alpha=alpha) for alpha in (1, 1, 2)]
    found = [checkpoints.function_digest(loss) for loss in losses]
    assert found[0] == found[1] and found[5] == found[6] and len(set(found)) == 6


def test_a_checkpoint_that_is_not_whole_is_refused(state):
    names = {path.name for path in state.iterdir()}
    assert names > {"settings.json", "model.safetensors", "optimizer.bin", "random_states_0.pkl"}
    made_with = json.loads((state / "settings.json").read_text())["made_with"]
    for name in names:
        content = (state / name).read_bytes()
        for bad in (b"", content[:-1], content[: len(content) // 2], bytes(len(content))):
            (state / name).write_bytes(bad)
            with pytest.raises(ValueError, match=f"is damaged: {name} (is cut|has SHA-256).*Give another"):
                checkpoints.read(state, made_with)
        (state / name).unlink()
        with pytest.raises(ValueError, match="no settings.json" if "set" in name else f"{name} is missing"):
            checkpoints.read(state, made_with)
        (state / name).write_bytes(content)


def test_no_checkpoint_is_taken_from_or_put_where_none_can_be(rows, tokenizer, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    refused("empty holds no checkpoint", tiny_bert(), rows, tokenizer, tmp_path / "empty")
    refused("is a file: expected a folder", tiny_bert(), rows, tokenizer, tmp_path / "file")
    refused("No checkpoint can be kept in", tiny_bert(), rows, tokenizer, tmp_path / "file" / "state")
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


def test_no_file_of_a_checkpoint_can_run_code(state, rows, tokenizer, tmp_path):
    """Even of one that agrees with its sums, as a stranger would make it."""

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    made_with = json.loads((state / "settings.json").read_text())["made_with"]
    for name in ("optimizer.bin", "scheduler.bin", "custom_checkpoint_0.pkl", "pytorch_model.bin"):
        crafted = shutil.copytree(state, tmp_path / name)
        torch.save(Trap(), crafted / name)
        torch.save(Trap(), crafted / "random_states_0.pkl")
        if "model" in name:
            (crafted / "model.safetensors").unlink()
        checkpoints.seal(crafted, made_with, weights="", history={})
        with pytest.raises(training.TrainingError, match=r"cannot be loaded .*the model may hold"):
            fit(tiny_bert(), rows, tokenizer, checkpoint=crafted)
        assert not (tmp_path / "sprung").exists(), name
    torch.load(crafted / name, weights_only=False)
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_bad_settings(model, rows, tokenizer):
    for settings, message in (
        ({"epochs": 0}, "epochs is 0: expected a whole number from 1 to 1,000"),
        ({"epochs": 1.5}, "epochs is 1.5: expected a whole number"),
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


def test_training_leaves_the_model_as_a_plain_model(model, rows, tokenizer):
    fit(model, rows, tokenizer, epochs=1, precision="bf16")
    assert not hasattr(model.forward, "__wrapped__")  # no autocast left around it
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    fit(model, rows, tokenizer, epochs=1, precision="no")  # another precision in the same process


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
