"""Distilling, pruning and quantizing: what each must keep, what it must save, and what is refused."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)
from transformers import set_seed as seed_everything

from helpers import assets, compression, data, training, transformer
from helpers.compression import CompressionError

LAYERS, HEADS, HEAD_SIZE, HIDDEN, UNITS = 2, 4, 8, 32, 64


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rows(tokenizer):
    """Sixty sentences that say plainly what they are, of different lengths."""
    from datasets import Dataset

    texts = [f"{word} film " + "number " * (n % 7) for n in range(30) for word in ("great", "awful")]
    return data.tokenize(Dataset.from_dict({"text": texts, "label": [1, 0] * 30}), tokenizer)


def tiny(tokenizer, seed=0, **settings):
    seed_everything(seed)
    shape = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    config = BertConfig(vocab_size=len(tokenizer), intermediate_size=UNITS, **shape, **settings)
    config.initializer_range = 0.2  # with BERT's 0.02 so small a model says the same of every text
    return BertForSequenceClassification(config).eval()


@pytest.fixture
def model(tokenizer):
    return tiny(tokenizer)


@pytest.fixture(scope="module")
def fitted(tokenizer, rows):
    model = tiny(tokenizer)
    settings = {"epochs": 4, "batch_size": 8, "learning_rate": 3e-3, "precision": "no"}
    training.fine_tune(model, rows, rows, tokenizer, **settings)
    assert training.evaluate(model, rows, tokenizer).accuracy > 0.95
    return model.eval()


@pytest.fixture(scope="module")
def exported(fitted, tmp_path_factory):
    return compression.export(fitted, tmp_path_factory.mktemp("onnx") / "fp32.onnx")


@pytest.fixture(scope="module")
def quantized(exported):
    return compression.quantize(exported.path, exported.path.with_name("int8.onnx"))


def batch(length=9, rows=3):
    """Any words, each row with another number of them."""
    torch.manual_seed(1)
    mask = (torch.arange(length) < torch.randint(1, length + 1, (rows, 1))).long()
    return {"input_ids": torch.randint(1_000, 20_000, (rows, length)), "attention_mask": mask}


def logits(model, **inputs):
    with torch.inference_mode():
        return model(**(inputs or batch())).logits


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


# Distillation


def some_logits():
    torch.manual_seed(2)
    return torch.randn(5, 3), torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])


def test_without_a_share_the_teacher_is_not_heard():
    student, teacher, labels = some_logits()
    loss = compression.distillation_loss(student, teacher, labels, temperature=1, alpha=0)
    torch.testing.assert_close(loss, F.cross_entropy(student, labels))


def test_with_the_whole_share_it_is_the_divergence():
    student, teacher, labels = some_logits()
    loss = compression.distillation_loss(student, teacher, labels, temperature=1, alpha=1)
    expected = F.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="batchmean")
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("temperature, share", [(2, 0.5), (5.0, 0.9), (0.5, 0.1)])
def test_the_loss_is_its_formula(temperature, share):
    student, teacher, labels = (tensor.double().numpy() for tensor in some_logits())
    p, q = (np.exp(z / temperature) for z in (teacher, student))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    divergence = (p * np.log(p / q)).sum(1).mean()
    likelihood = (np.exp(student) / np.exp(student).sum(1, keepdims=True))[range(5), labels.astype(int)]
    expected = share * temperature**2 * divergence - (1 - share) * np.log(likelihood).mean()
    loss = compression.distillation_loss(*some_logits(), temperature=temperature, alpha=share)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "setting",
    [{"temperature": 0}, {"temperature": math.nan}, {"share": -0.1}, {"share": 1.1}, {"share": True}],
)
def test_a_loss_out_of_range_is_refused(model, rows, tokenizer, setting):
    settings = {"temperature": 2, "share": 0.5, **setting}
    with pytest.raises(CompressionError, match=rf"{next(iter(setting))} is .*expected a number from"):
        compression.distillation_loss(*some_logits(), **settings)
    with pytest.raises(CompressionError, match=next(iter(setting))):
        compression.distil(model, model, rows, rows, tokenizer, **settings)


def test_a_student_of_all_layers_is_the_teacher(model):
    student = compression.student(model, layers=range(LAYERS))
    assert same(weights(student), weights(model))
    assert torch.equal(logits(student), logits(model))


def test_a_student_has_the_layers_that_were_chosen(tokenizer):
    teacher = tiny(tokenizer, num_labels=3)
    teacher.bert.encoder.layer.append(tiny(tokenizer, seed=1).bert.encoder.layer[0])  # a third layer
    teacher.config.num_hidden_layers = 3
    before = weights(teacher)
    student = compression.student(teacher, [0, 2])
    assert student.config.num_hidden_layers == len(student.bert.encoder.layer) == 2
    for place, number in enumerate((0, 2)):
        assert same(weights(student.bert.encoder.layer[place]), weights(teacher.bert.encoder.layer[number]))
    assert same(weights(student.classifier), weights(teacher.classifier))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    assert same(weights(teacher), before)
    assert teacher.config.num_hidden_layers == 3


def test_a_student_of_a_model_that_was_trained_runs_on_its_own_weights(fitted):
    before = logits(fitted)
    student = compression.student(fitted, [0, 1])
    torch.nn.init.zeros_(student.classifier.weight)
    torch.nn.init.zeros_(student.classifier.bias)
    assert not logits(student).any()
    assert torch.equal(logits(fitted), before)
    assert all(parameter.grad is None for parameter in student.parameters())


@pytest.mark.parametrize("layers", [[], [2], [-1], [1, 0], [0, 0], [0.5], 1, "01"])
def test_wrong_layers_are_refused(model, layers):
    with pytest.raises(CompressionError, match="different numbers from 0 to 1, in rising order"):
        compression.student(model, layers)


def settings_of_a_run(**settings):
    return {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "precision": "no", **settings}


def test_a_student_follows_its_teacher_where_the_labels_lie(fitted, rows, tokenizer):
    lies = rows.remove_columns("label").add_column("label", [1 - label for label in rows["label"]])
    student, before = tiny(tokenizer, seed=3), weights(fitted)
    history = compression.distil(
        student, fitted, lies, rows, tokenizer, temperature=2, alpha=1, **settings_of_a_run()
    )
    assert history.epochs[-1]["accuracy"] > 0.9  # on the true labels, which it never saw
    assert history.loss[-1] < history.loss[0]
    assert same(weights(fitted), before) and not fitted.training


def test_without_the_teacher_it_is_fine_tuning(fitted, rows, tokenizer):
    taught, alone = tiny(tokenizer), tiny(tokenizer)
    run = settings_of_a_run(epochs=1)
    history = compression.distil(taught, fitted, rows, rows, tokenizer, temperature=2, alpha=0, **run)
    np.testing.assert_allclose(
        history.loss, training.fine_tune(alone, rows, rows, tokenizer, **run).loss, rtol=1e-5
    )


def test_the_teacher_is_asked_once_for_each_row(fitted, model, rows, tokenizer):
    asked = []
    hook = fitted.register_forward_pre_hook(
        lambda module, _, names: asked.append((len(names["input_ids"]), module.training)), with_kwargs=True
    )
    compression.distil(
        model, fitted, rows, rows, tokenizer, temperature=2, alpha=1, **settings_of_a_run(epochs=2)
    )
    hook.remove()
    assert sum(size for size, _ in asked) == len(rows)
    assert not any(was_training for _, was_training in asked)


def test_a_teacher_may_have_answered_before(fitted, rows, tokenizer):
    answers = training.evaluate(fitted, rows, tokenizer).probabilities
    losses = []
    for teacher in (fitted, answers):
        run = settings_of_a_run(epochs=1)
        student = tiny(tokenizer, seed=3)
        history = compression.distil(student, teacher, rows, rows, tokenizer, temperature=2, alpha=0.7, **run)
        losses.append(history.loss)
    assert losses[0] == losses[1]
    with pytest.raises(CompressionError, match=r"\(59, 2\): expected \(60, classes\)"):
        compression.distil(student, answers[1:], rows, rows, tokenizer, temperature=2, alpha=1)
    with pytest.raises(CompressionError, match="1 classes apart, the student 2"):
        compression.distil(student, answers[:, :1], rows, rows, tokenizer, temperature=2, alpha=1)


def test_a_student_that_agrees_has_nothing_to_learn(tokenizer, rows):
    teacher = tiny(tokenizer, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    student = compression.student(teacher, range(LAYERS))
    run = settings_of_a_run(epochs=1, learning_rate=1e-8)
    history = compression.distil(student, teacher, rows, rows, tokenizer, temperature=3, alpha=1, **run)
    assert max(np.abs(history.loss)) < 1e-4  # each answer found its own row


def test_a_teacher_of_other_classes_is_refused(model, rows, tokenizer):
    with pytest.raises(CompressionError, match=r"3 classes apart, the student 2: .*Make the student from"):
        compression.distil(
            model, tiny(tokenizer, num_labels=3), rows, rows, tokenizer, temperature=2, alpha=1
        )


def test_distilling_keeps_no_checkpoint(model, fitted, rows, tokenizer, tmp_path):
    with pytest.raises(CompressionError, match="no checkpoint: leave it out"):
        compression.distil(
            model, fitted, rows, rows, tokenizer, temperature=2, alpha=1, checkpoint=tmp_path / "state"
        )


# Pruning


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 1])
def test_the_share_of_zeros_is_what_was_asked(model, share):
    before = weights(model)
    pruned = compression.prune(model, share)
    assert compression.sparsity(pruned) == pytest.approx(share, abs=1e-4)
    assert same(weights(model), before) and weights(pruned).keys() == before.keys()
    kept, gone = [], []
    for name, weight in pruned.named_parameters():
        old = before[name]
        assert torch.equal(weight[weight != 0], old[weight != 0])
        if "encoder" in name and weight.dim() == 2:
            kept.append(old[weight != 0].abs())
            gone.append(old[weight == 0].abs())
        else:
            assert torch.equal(weight, old)
    if 0 < share < 1:
        assert torch.cat(gone).max() <= torch.cat(kept).min()


def test_pruning_alone_makes_nothing_smaller(model):
    assert parameters(compression.prune(model, 0.5)) == parameters(model)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, True, "half", None])
def test_a_share_out_of_range_is_refused(model, share):
    with pytest.raises(CompressionError, match=r"share is .*expected a number from 0 to 1"):
        compression.prune(model, share)


def test_where_nothing_is_removed_nothing_changes(model):
    shrunk = compression.shrink(model, heads=HEADS, units=UNITS)
    assert same(weights(shrunk), weights(model))
    assert torch.equal(logits(shrunk), logits(model))
    assert shrunk.config.to_dict() == model.config.to_dict()


def test_shrinking_takes_weights_away(model):
    before, config = weights(model), model.config.to_dict()
    shrunk = compression.shrink(model, heads=3, units=40)
    a_head = 3 * (HIDDEN + 1) * HEAD_SIZE + HEAD_SIZE * HIDDEN
    a_unit = HIDDEN + 1 + HIDDEN
    assert parameters(model) - parameters(shrunk) == LAYERS * (a_head + (UNITS - 40) * a_unit)
    assert logits(shrunk).shape == logits(model).shape
    assert same(weights(model), before) and model.config.to_dict() == config


def test_a_head_and_a_unit_that_say_nothing_can_go(model):
    with torch.no_grad():
        for number, layer in enumerate(model.bert.encoder.layer):
            first = (number + 1) * HEAD_SIZE
            layer.attention.output.dense.weight[:, first : first + HEAD_SIZE] = 0
            layer.output.dense.weight[:, number::2] = 0
    shrunk = compression.shrink(model, heads=HEADS - 1, units=UNITS // 2)
    torch.testing.assert_close(logits(shrunk), logits(model), atol=1e-5, rtol=1e-5)


def test_importance_is_how_fast_the_loss_changes(model, rows, tokenizer):
    """Make one head, or one unit, a little louder and softer, and see what the loss does."""
    model = model.double()
    inputs = next(iter(data.batches(rows, tokenizer, len(rows), shuffle=False)))
    del inputs["index"]
    found = compression.importance(model, rows, tokenizer, batch_size=len(rows))
    assert found.heads.shape == (LAYERS, HEADS) and found.units.shape == (LAYERS, UNITS)
    for number, layer in enumerate(model.bert.encoder.layer):
        parts = [
            (layer.attention.output.dense.weight, slice(HEAD_SIZE, 2 * HEAD_SIZE), found.heads[number, 1])
        ]
        parts.append((layer.output.dense.weight, slice(5, 6), found.units[number, 5]))
        for weight, columns, score in parts:
            losses = []
            for loudness in (1 + 1e-4, 1 - 1e-4):
                old = weight.detach().clone()
                with torch.no_grad():
                    weight[:, columns] *= loudness
                    losses.append(model(**inputs).loss.item())
                    weight.copy_(old)
            assert score.item() == pytest.approx(abs(losses[0] - losses[1]) / 2e-4, rel=1e-3, abs=1e-9)


def test_importance_leaves_the_model_as_it_was(model, rows, tokenizer):
    model.train()
    model.bert.embeddings.requires_grad_(False)
    before, needs = weights(model), [parameter.requires_grad for parameter in model.parameters()]
    first, again = (compression.importance(model, rows, tokenizer, batch_size=16) for _ in range(2))
    assert torch.equal(first.units, again.units)  # no dropout
    assert same(weights(model), before) and model.training
    assert [parameter.requires_grad for parameter in model.parameters()] == needs
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_scores_decide_what_stays(model):
    scores = compression.Importance(torch.rand(LAYERS, HEADS), torch.rand(LAYERS, UNITS))
    shrunk = compression.shrink(model, units=7, scores=scores)
    for number, layer in enumerate(shrunk.bert.encoder.layer):
        kept = sorted(scores.units[number].argsort(descending=True)[:7].tolist())
        expected = model.bert.encoder.layer[number].intermediate.dense.weight[kept]
        assert torch.equal(layer.intermediate.dense.weight, expected)
    with pytest.raises(CompressionError, match="expected this model's scores"):
        compression.shrink(shrunk, units=5, scores=scores)


@pytest.mark.parametrize("setting", [{"heads": 0}, {"heads": HEADS + 1}, {"units": 0}, {"units": 3.5}])
def test_more_or_fewer_than_there_are_is_refused(model, setting):
    with pytest.raises(
        CompressionError, match=rf"{next(iter(setting))} is .*expected a whole number from 1 to"
    ):
        compression.shrink(model, **setting)


def test_rows_need_a_tokenizer(model, rows):
    with pytest.raises(CompressionError, match="without a tokenizer"):
        compression.importance(model, rows)


def test_a_shrunk_model_learns_and_shrinks_again(fitted, rows, tokenizer):
    once = compression.shrink(
        fitted, heads=3, units=32, scores=compression.importance(fitted, rows, tokenizer)
    )
    history = training.fine_tune(once, rows, rows, tokenizer, **settings_of_a_run())
    assert history.epochs[-1]["accuracy"] > 0.9
    twice = compression.shrink(compression.student(once, [1]), heads=2)
    assert parameters(twice) < parameters(once)
    assert logits(twice).isfinite().all()


@pytest.mark.parametrize("sizes", [{}, {"units": 16}, {"heads": 1}, {"heads": 3, "units": 5}])
def test_saved_and_loaded_again_it_gives_equal_answers(model, tmp_path, sizes):
    shrunk = compression.shrink(model, **sizes)
    compression.save(model, tmp_path / "model")
    compression.save(shrunk, tmp_path / "model")  # in its place
    loaded = compression.load(tmp_path / "model")
    assert same(weights(loaded), weights(shrunk)) and not loaded.training
    assert torch.equal(logits(loaded), logits(shrunk))
    again = compression.shrink(loaded, heads=1)
    assert torch.equal(logits(again), logits(compression.shrink(shrunk, heads=1)))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_without_heads_lost_any_bert_can_load_it(model, tmp_path):
    shrunk = compression.shrink(compression.student(model, [1]), units=16)
    compression.save(shrunk, tmp_path / "units")
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "units").eval()
    assert torch.equal(logits(loaded), logits(shrunk))
    compression.save(compression.shrink(model, heads=2), tmp_path / "heads")
    with pytest.raises(RuntimeError, match="mismatched_sizes"):  # loud, instead of a wrong answer
        BertForSequenceClassification.from_pretrained(tmp_path / "heads")


def test_a_trimmed_model_knows_the_words_it_saw_and_no_others(fitted, rows, tokenizer, tmp_path):
    before = weights(fitted)
    small = compression.trim(fitted, rows, tokenizer)
    inputs = next(iter(data.batches(rows, tokenizer, 16, shuffle=False)))
    del inputs["index"], inputs["labels"]
    assert torch.equal(logits(small, **inputs), logits(fitted, **inputs))
    new, unknown = ({"input_ids": torch.tensor([[101, token, 102]])} for token in (20_000, 100))
    assert torch.equal(logits(small, **new), logits(fitted, **unknown))
    assert parameters(small) < parameters(fitted) / 5 and same(weights(fitted), before)

    compression.save(small, tmp_path / "model")
    loaded = compression.load(tmp_path / "model")
    assert same(weights(loaded), weights(small))
    assert torch.equal(logits(loaded), logits(small))
    exported = compression.export(small, tmp_path / "small.onnx")
    torch.testing.assert_close(exported(**batch()).logits, logits(small), atol=1e-4, rtol=1e-4)
    compression.quantize(exported.path, tmp_path / "int8.onnx")
    whole = compression.export(fitted, tmp_path / "whole.onnx")
    assert exported.path.stat().st_size < whole.path.stat().st_size / 3


def test_a_trimmed_model_learns(fitted, rows, tokenizer):
    small = compression.student(compression.trim(fitted, rows, tokenizer), [1])
    history = training.fine_tune(small, rows, rows, tokenizer, **settings_of_a_run())
    assert history.epochs[-1]["accuracy"] > 0.9


def test_what_cannot_be_trimmed_is_refused(fitted, rows, tokenizer):
    small = compression.trim(fitted, rows, tokenizer)
    with pytest.raises(CompressionError, match="was trimmed before"):
        compression.trim(small, rows, tokenizer)
    few = BertForSequenceClassification(BertConfig(vocab_size=200, hidden_size=32, num_attention_heads=2))
    with pytest.raises(CompressionError, match="the model has 200: expected rows of its own tokenizer"):
        compression.trim(few, rows, tokenizer)


def test_what_computes_the_first_position_alone_is_compressed_like_any_other(
    fitted, rows, tokenizer, tmp_path
):
    teacher = transformer.first_position_only(compression.student(fitted, range(LAYERS)))
    small = compression.student(compression.shrink(teacher, heads=3, units=16), [0, 1])
    plain = compression.shrink(fitted, heads=3, units=16)
    torch.testing.assert_close(logits(small), logits(plain), atol=1e-5, rtol=1e-4)
    exported = compression.export(small, tmp_path / "small.onnx")
    torch.testing.assert_close(exported(**batch()).logits, logits(plain), atol=1e-4, rtol=1e-4)
    compression.save(small, tmp_path / "model")
    loaded = compression.load(tmp_path / "model")  # as a plain model, with the same weights
    assert same(weights(loaded), weights(plain))
    found = compression.importance(teacher, rows, tokenizer)
    expected = compression.importance(fitted, rows, tokenizer)
    torch.testing.assert_close(found.units, expected.units, atol=1e-6, rtol=1e-3)


def test_what_is_no_model_is_neither_replaced_nor_loaded(model, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(CompressionError, match=r"thesis is there and holds no model: .*Choose another"):
        compression.save(model, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    with pytest.raises(CompressionError, match=r"holds no model\.safetensors"):
        compression.load(tmp_path / "thesis")


OTHERS = [
    lambda model, path: compression.student(model, [0]),
    lambda model, path: compression.prune(model, 0.5),
    lambda model, path: compression.importance(model),
    lambda model, path: compression.shrink(model, heads=1),
    lambda model, path: compression.trim(model, None, None),
    lambda model, path: compression.export(model, path / "model.onnx"),
]


@pytest.mark.parametrize(
    "compress", OTHERS, ids=["student", "prune", "importance", "shrink", "trim", "export"]
)
def test_another_family_is_refused(compress, tmp_path):
    config = DistilBertConfig(vocab_size=100, dim=32, n_layers=1, n_heads=2, hidden_dim=64)
    for model, family in (
        (DistilBertForSequenceClassification(config), "distilbert"),
        (torch.nn.Linear(2, 2), "Linear"),
    ):
        with pytest.raises(CompressionError, match=f"of the family '{family}': expected a BERT"):
            compress(model, tmp_path)
    assert not list(tmp_path.iterdir())


# Quantization


def some_weights():
    torch.manual_seed(4)
    yield torch.randn(40, 30)
    yield torch.rand(50) + 3  # of one sign
    yield -torch.rand(50)
    yield torch.tensor([-3.5, 251.5, 0.0, 100.0])  # the ends fall between two steps
    yield torch.zeros(3)
    yield torch.full((2, 2), -0.7)
    yield 1e-6 * torch.randn(100)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_no_number_is_off_by_more_than_half_a_step(bits, symmetric):
    for weight in some_weights():
        small = compression.quantize_tensor(weight, bits, symmetric)
        difference = (small.dequantize() - weight).abs().max().item()
        assert small.error == pytest.approx(difference)
        assert difference <= small.scale / 2 * (1 + 1e-4)
        assert small.values.shape == weight.shape
        assert len(small.values.unique()) <= 2**bits
        assert small.values.dtype == (torch.int8 if symmetric else torch.uint8)
        at_zero = compression.quantize_tensor(torch.cat([weight.flatten(), torch.zeros(1)]), bits, symmetric)
        assert at_zero.dequantize()[-1] == 0  # padding stays what it is


def test_symmetric_means_that_minus_w_is_minus_the_value():
    weight = next(some_weights())
    plus, minus = compression.quantize_tensor(weight), compression.quantize_tensor(-weight)
    assert torch.equal(plus.values, -minus.values) and plus.zero_point == 0


def test_a_bit_less_doubles_the_step_and_one_sign_halves_it():
    weight = torch.linspace(0, 1, 1_001)
    steps = [compression.quantize_tensor(weight, bits).scale for bits in (8, 7, 6)]
    assert steps[1] / steps[0] == pytest.approx(2, rel=0.03) == steps[2] / steps[1]
    one_sided = compression.quantize_tensor(weight, 8, symmetric=False)
    assert one_sided.scale == pytest.approx(steps[0] / 2, rel=0.01)
    assert one_sided.error < compression.quantize_tensor(weight, 8).error


@pytest.mark.parametrize("bits", [0, 1, 9, 4.0, True])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(CompressionError, match=r"bits is .*expected a whole number from 2 to 8"):
        compression.quantize_tensor(torch.ones(2), bits)


@pytest.mark.parametrize(
    "weight", [torch.tensor([]), torch.tensor([1.0, math.inf]), torch.tensor([math.nan])]
)
def test_a_weight_that_has_no_range_is_refused(weight):
    with pytest.raises(CompressionError, match="expected finite numbers"):
        compression.quantize_tensor(weight)


@pytest.mark.parametrize("length, count", [(9, 3), (1, 1), (40, 2), (512, 1)])
def test_onnx_gives_the_logits_of_pytorch(fitted, exported, length, count):
    inputs = batch(length, count)
    torch.testing.assert_close(exported(**inputs).logits, logits(fitted, **inputs), atol=1e-4, rtol=1e-4)


def test_evaluate_takes_an_onnx_model_as_it_is(fitted, exported, quantized, rows, tokenizer):
    expected = training.evaluate(fitted, rows, tokenizer)
    found = training.evaluate(exported, rows, tokenizer)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    small = training.evaluate(quantized, rows, tokenizer)
    np.testing.assert_allclose(small.probabilities, expected.probabilities, atol=0.1)
    assert abs(small.accuracy - expected.accuracy) < 0.05


def test_it_is_called_as_pytorch_is(fitted, exported, tokenizer):
    texts = tokenizer(["a great film", "awful"], padding=True, return_tensors="pt")
    torch.testing.assert_close(exported(**texts).logits, logits(fitted, **texts), atol=1e-4, rtol=1e-4)
    alone = texts["input_ids"][:1]
    torch.testing.assert_close(exported(alone).logits, logits(fitted, input_ids=alone), atol=1e-4, rtol=1e-4)
    assert exported.eval() is exported.train() is exported and exported.device.type == "cpu"
    pairs = tokenizer([("a great film", "is it?")], return_tensors="pt")
    with pytest.raises(CompressionError, match="single texts, not pairs"):
        exported(**pairs)


def test_an_onnx_model_can_teach(quantized, model, rows, tokenizer):
    run = settings_of_a_run()
    history = compression.distil(model, quantized, rows, rows, tokenizer, temperature=2, alpha=1, **run)
    assert history.epochs[-1]["accuracy"] > 0.9


def test_eight_bits_are_a_quarter_of_thirty_two(exported, quantized):
    ratio = exported.path.stat().st_size / quantized.path.stat().st_size
    assert 3.5 < ratio < 4.3


def test_no_matrix_is_left_in_fp32(quantized):
    import onnx

    graph = onnx.load(quantized.path).graph
    floats = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    assert max(math.prod(tensor.dims) for tensor in floats) <= max(UNITS, 2 * HIDDEN)  # biases
    bytes_ = [
        tensor
        for tensor in graph.initializer
        if tensor.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    ]
    assert any(list(tensor.dims) == [30_522, HIDDEN] for tensor in bytes_)  # the word embeddings


def test_opened_again_it_gives_equal_answers(quantized):
    again = compression.OnnxClassifier(str(quantized.path))
    assert torch.equal(again(**batch()).logits, quantized(**batch()).logits)


def test_exporting_says_nothing(fitted, tmp_path, recwarn, capfd):
    compression.export(fitted, tmp_path / "quiet.onnx")
    assert not list(recwarn) and "".join(capfd.readouterr()) == ""


def test_a_smaller_model_can_be_exported(fitted, tmp_path):
    small = compression.shrink(compression.student(fitted, [1]), heads=3, units=16)
    small.train()
    before = weights(small)
    exported = compression.export(small, tmp_path / "small.onnx")
    assert small.training and same(weights(small), before)
    torch.testing.assert_close(exported(**batch()).logits, logits(small.eval()), atol=1e-4, rtol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]


def test_what_fails_leaves_what_was_there(exported, tmp_path, monkeypatch):
    target, garbage = tmp_path / "model.onnx", tmp_path / "garbage.onnx"
    target.write_text("the old one")
    garbage.write_text("no model")
    with pytest.raises(CompressionError, match="cannot be read as an ONNX file"):
        compression.quantize(garbage, target)
    with pytest.raises(CompressionError, match=r"There is no file .*expected one that export"):
        compression.quantize(tmp_path / "none.onnx", target)
    shape = {"hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 100}
    with pytest.raises(CompressionError, match="BertForMaskedLM has no classifier"):
        compression.export(BertForMaskedLM(BertConfig(**shape)), target)
    monkeypatch.setattr(compression.quantizing, "TOLERANCE", -1.0)
    with pytest.raises(CompressionError, match=r"differ from PyTorch's by .*Nothing was written"):
        compression.export(BertForSequenceClassification(BertConfig(**shape)), target)
    assert target.read_text() == "the old one"
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "garbage.onnx"}


def test_another_onnx_file_is_refused(tmp_path):
    from onnx import TensorProto, helper, save

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "minus", [x], [y])
    opset = helper.make_opsetid("", 18)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "linear.onnx")
    with pytest.raises(CompressionError, match="takes x: expected input_ids and attention_mask"):
        compression.OnnxClassifier(tmp_path / "linear.onnx")


def test_the_embedded_model_fits_in_25_megabytes(tmp_path):
    model = BertForSequenceClassification.from_pretrained(assets.fetch_model()).eval()
    compression.export(model, tmp_path / "fp32.onnx")
    small = compression.quantize(tmp_path / "fp32.onnx", tmp_path / "int8.onnx")
    assert (tmp_path / "fp32.onnx").stat().st_size > 90e6
    assert (tmp_path / "int8.onnx").stat().st_size < 25e6
    assert small(**batch()).logits.shape == (3, 2)
