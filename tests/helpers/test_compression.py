"""Distilling, pruning and quantizing: what each must keep, what it must save, and what is refused."""

import functools
import math

import numpy as np
import pytest
import torch
from onnx import load, numpy_helper, parser, save
from scipy import special, stats
from transformers import BertConfig, BertForSequenceClassification

from cluster.checkpoints import weights_digest as weights
from helpers import compression, data, training, transformer
from helpers.compression import CompressionError
from tests.shared import tiny_bert

LAYERS, HEADS, HEAD_SIZE, HIDDEN, UNITS = 2, 4, 8, 32, 64
RUN = {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "precision": "no"}
pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(seed=0, **settings):
    """Its weights are wide: with BERT's 0.02 so small a model says the same of every text."""
    return tiny_bert(seed=seed, num_attention_heads=HEADS, initializer_range=0.2, **settings).eval()


@pytest.fixture
def model():
    return tiny()


@pytest.fixture(scope="module")
def fitted(tokenizer, rows):
    model = tiny()
    training.fine_tune(model, rows, rows, tokenizer, **{**RUN, "epochs": 4})
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


def close(first, second, atol=1e-4):
    torch.testing.assert_close(first, second, atol=atol, rtol=atol)


def random_scores(layers=LAYERS, units=UNITS, heads=HEADS):
    torch.manual_seed(6)
    return compression.Importance(torch.rand(layers, heads), torch.rand(layers, units))


def shrink(model, scores=None, **sizes):
    return compression.shrink(model, scores=scores or random_scores(), **sizes)


def some_logits():
    torch.manual_seed(2)
    return torch.randn(5, 3), torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])


@pytest.mark.parametrize("temperature, alpha", [(2, 0.5), (5.0, 0.9), (0.5, 0.1), (1, 0), (1, 1)])
def test_the_loss_is_its_formula(temperature, alpha):
    student, teacher, labels = (tensor.double().numpy() for tensor in some_logits())
    p, q = (special.softmax(z / temperature, axis=1) for z in (teacher, student))
    likelihood = special.log_softmax(student, axis=1)[range(5), labels.astype(int)]
    expected = alpha * temperature**2 * stats.entropy(p, q, axis=1).mean() - (1 - alpha) * likelihood.mean()
    loss = compression.distillation_loss(*some_logits(), temperature=temperature, alpha=alpha)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_student_has_the_layers_that_were_chosen_on_weights_of_its_own():
    teacher = tiny(num_labels=3, num_hidden_layers=3)
    teacher(**batch()).logits.sum().backward()
    before, student = logits(teacher), compression.student(teacher, layers=range(3))
    assert weights(student) == weights(teacher) and torch.equal(logits(student), before)
    for parameter in student.parameters():
        assert parameter.grad is None
        torch.nn.init.zeros_(parameter)
    assert not logits(student).any() and torch.equal(logits(teacher), before)
    student = compression.student(teacher, [0, 2])
    assert student.config.num_hidden_layers == len(student.bert.encoder.layer) == 2
    for place, number in enumerate((0, 2)):
        assert weights(student.bert.encoder.layer[place]) == weights(teacher.bert.encoder.layer[number])
    assert weights(student.classifier) == weights(teacher.classifier)
    assert teacher.config.num_hidden_layers == len(teacher.bert.encoder.layer) == 3


@pytest.mark.parametrize("fraction", [0, 0.3, 0.9, 1])
def test_the_sparsity_is_what_was_asked(model, fraction):
    before, pruned = weights(model), compression.prune(model, fraction)
    assert compression.sparsity(pruned) == pytest.approx(fraction, abs=1e-4)
    assert weights(model) == before and pruned.state_dict().keys() == model.state_dict().keys()
    compared = {name: old for name, old in model.named_parameters() if "encoder" in name and old.dim() == 2}
    sizes = torch.cat([torch.tensor([-1.0]), *(old.abs().flatten() for old in compared.values())])
    largest_gone = sizes.sort().values[round(fraction * (len(sizes) - 1))]
    for name, weight in pruned.named_parameters():
        gone = (model.get_parameter(name).abs() <= largest_gone) & (name in compared)
        assert torch.equal(weight, model.get_parameter(name).masked_fill(gone, 0))


def test_shrinking_takes_weights_away_or_changes_nothing(model):
    before, config = weights(model), model.config.to_dict()
    whole = shrink(model, heads=HEADS, units=UNITS)
    assert weights(whole) == before and whole.config.to_dict() == config
    assert torch.equal(logits(whole), logits(model))
    shrunk = shrink(model, heads=3, units=40)
    a_head, a_unit = 3 * (HIDDEN + 1) * HEAD_SIZE + HEAD_SIZE * HIDDEN, HIDDEN + 1 + HIDDEN
    assert model.num_parameters() - shrunk.num_parameters() == LAYERS * (a_head + (UNITS - 40) * a_unit)
    assert weights(model) == before and model.config.to_dict() == config


def test_importance_is_how_fast_the_loss_changes(model, rows, tokenizer):
    """Make one head, or one unit, a little louder and softer, and see what the loss does."""
    model, few = model.double(), rows.select(range(30))  # one batch
    inputs = next(iter(data.batches(few, tokenizer, len(few), shuffle=False)))
    del inputs["index"]
    found = compression.importance(model, few, tokenizer)
    assert found.heads.shape == (LAYERS, HEADS) and found.units.shape == (LAYERS, UNITS)

    @torch.no_grad()
    def loss(weight, columns, loudness):
        old = weight.clone()
        weight[:, columns] *= loudness
        found = model(**inputs).loss.item()
        weight.copy_(old)
        return found

    for layer, heads, units in zip(model.bert.encoder.layer, found.heads, found.units, strict=True):
        second_head = layer.attention.output.dense.weight, slice(HEAD_SIZE, 2 * HEAD_SIZE)
        for place, score in ((second_head, heads[1]), ((layer.output.dense.weight, slice(5, 6)), units[5])):
            change = abs(loss(*place, 1 + 1e-4) - loss(*place, 1 - 1e-4)) / 2e-4
            assert score.item() == pytest.approx(change, rel=1e-3, abs=1e-9)


def test_importance_leaves_the_model_as_it_was(model, rows, tokenizer):
    model.train()
    model.bert.embeddings.requires_grad_(False)
    before, needs = weights(model), [parameter.requires_grad for parameter in model.parameters()]
    first, again = (compression.importance(model, rows, tokenizer) for _ in range(2))
    assert torch.equal(first.units, again.units)  # no dropout
    assert weights(model) == before and model.training
    assert [parameter.requires_grad for parameter in model.parameters()] == needs
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_scores_decide_what_stays_and_what_says_nothing_can_go(model, rows, tokenizer):
    scores = random_scores()
    shrunk = shrink(model, scores, units=7)
    for number, layer in enumerate(shrunk.bert.encoder.layer):
        kept = sorted(scores.units[number].argsort(descending=True)[:7].tolist())
        expected = model.bert.encoder.layer[number].intermediate.dense.weight[kept]
        assert torch.equal(layer.intermediate.dense.weight, expected)
    with pytest.raises(CompressionError, match="expected this model's scores"):
        shrink(shrunk, scores, units=5)
    with torch.no_grad():
        for number, layer in enumerate(model.bert.encoder.layer):
            first = (number + 1) * HEAD_SIZE
            layer.attention.output.dense.weight[:, first : first + HEAD_SIZE] = 0
            layer.output.dense.weight[:, number::2] = 0
    scores = compression.importance(model, rows, tokenizer)
    shrunk = shrink(model, scores, heads=HEADS - 1, units=UNITS // 2)
    close(logits(shrunk), logits(model), 1e-5)


def test_a_shrunk_model_learns_and_shrinks_again(fitted, rows, tokenizer):
    once = shrink(fitted, compression.importance(fitted, rows, tokenizer), heads=3, units=32)
    assert training.fine_tune(once, rows, rows, tokenizer, **RUN).epochs[-1]["accuracy"] > 0.9
    twice = shrink(compression.student(once, [1]), random_scores(1, 32, 3), heads=2)
    assert twice.num_parameters() < once.num_parameters() and logits(twice).isfinite().all()


def test_without_heads_lost_any_bert_can_load_it(model, tmp_path):
    shrunk = shrink(compression.student(model, [1]), random_scores(1), units=16)
    shrunk.save_pretrained(tmp_path / "units")
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "units").eval()
    assert weights(loaded) == weights(shrunk) and torch.equal(logits(loaded), logits(shrunk))
    shrink(model, heads=2).save_pretrained(tmp_path / "heads")
    with pytest.raises(RuntimeError, match="mismatched_sizes"):  # loud, instead of a wrong answer
        BertForSequenceClassification.from_pretrained(tmp_path / "heads")


def test_a_smaller_model_of_the_first_position_is_exported(fitted, rows, tokenizer, tmp_path, recwarn, capfd):
    teacher = transformer.first_position_only(compression.student(fitted, range(LAYERS)))
    small = compression.student(shrink(teacher, heads=3, units=16), [1]).train()
    plain = compression.student(shrink(fitted, heads=3, units=16), [1])
    exported = compression.export(small, tmp_path / "small.onnx")
    assert not list(recwarn) and "".join(capfd.readouterr()) == ""
    assert small.training and weights(small) == weights(plain)
    close(exported(**batch()).logits, logits(plain))
    close(logits(small.eval()), logits(plain), 1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]
    found, expected = (compression.importance(each, rows, tokenizer).units for each in (teacher, fitted))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-3)


def test_another_family_is_refused(tmp_path):
    plain, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    other.config = BertConfig()
    other.config.model_type = "distilbert"
    calls = [(compression.student, [0]), (compression.prune, 0.5), (compression.importance, None, None)]
    calls += [(functools.partial(compression.shrink, scores=None),)]
    for compress, *given in (*calls, (compression.export, tmp_path / "model.onnx")):
        for model, family in ((plain, "Linear"), (other, "distilbert")):
            with pytest.raises(CompressionError, match=f"of the family '{family}': expected a BERT"):
                compress(model, *given)
    assert not list(tmp_path.iterdir())


def test_a_setting_out_of_its_range_is_refused(model):
    loss = functools.partial(compression.distillation_loss, *some_logits(), temperature=2, alpha=0.5)
    order, whole, number = "different numbers from 0 to 1, in rising order", "a whole number", "a number from"
    for message, compress, values in (
        (f"fraction is .*{number} 0 to 1", compression.prune, [-0.1, 1.1, math.nan, True, "half", None]),
        (f"heads is .*{whole} from 1 to 4", lambda model, x: shrink(model, heads=x), [0, HEADS + 1]),
        (f"units is .*{whole} from 1 to 64", lambda model, x: shrink(model, units=x), [0, 3.5]),
        (order, compression.student, [[], [2], [-1], [1, 0], [0, 0], [0.5], 1, "01"]),
        (f"temperature is .*{number}", lambda _, x: loss(temperature=x), [0, math.nan]),
        (f"alpha is .*{number}", lambda _, x: loss(alpha=x), [-0.1, True]),
    ):
        for value in values:
            with pytest.raises(CompressionError, match=message):
                compress(model, value)


def test_onnx_is_evaluated_and_called_as_pytorch_is(fitted, exported, quantized, rows, tokenizer):
    expected = training.evaluate(fitted, rows, tokenizer)
    for model, apart in ((exported, 1e-4), (quantized, 0.1)):
        found = training.evaluate(model, rows, tokenizer)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=apart)
        assert abs(found.accuracy - expected.accuracy) < 0.05
    for inputs in (batch(9, 3), batch(1, 1), batch(40, 2), batch(512, 1)):
        close(exported(**inputs).logits, logits(fitted, **inputs))
    texts = tokenizer(["a great film", "awful"], padding=True, return_tensors="pt")  # with token_type_ids
    close(exported(**texts).logits, logits(fitted, **texts))
    assert exported.eval() is exported.train() is exported and exported.device.type == "cpu"
    with pytest.raises(CompressionError, match="single texts, not pairs"):
        exported(**tokenizer([("a great film", "is it?")], return_tensors="pt"))


def test_eight_bits_are_a_quarter_and_no_matrix_is_left_in_fp32(exported, quantized):
    assert 3.5 < exported.path.stat().st_size / quantized.path.stat().st_size < 4.3
    arrays = [numpy_helper.to_array(tensor) for tensor in load(quantized.path).graph.initializer]
    assert max(each.size for each in arrays if each.dtype == np.float32) <= max(UNITS, 2 * HIDDEN)  # biases
    assert (30_522, HIDDEN) in [array.shape for array in arrays if array.itemsize == 1]  # word embeddings
    matrices = [array for array in arrays if array.dtype == np.int8 and array.ndim == 2]
    assert all(np.abs(matrix.astype(int)).max() <= 64 for matrix in matrices)  # two products fit in 16 bits
    largest = [np.abs(matrix.astype(int)).max(axis=0) for matrix in matrices if matrix.shape[1] == UNITS]
    assert largest and min(each.min() for each in largest) >= 63  # each column has a scale of its own
    again = compression.OnnxClassifier(str(quantized.path), threads=1)
    torch.testing.assert_close(again(**batch()).logits, quantized(**batch()).logits)


def test_what_fails_leaves_what_was_there_and_another_onnx_file_is_refused(exported, tmp_path, monkeypatch):
    target, garbage = tmp_path / "model.onnx", tmp_path / "garbage.onnx"
    target.write_text("the old one")
    garbage.write_text("no model")
    with pytest.raises(CompressionError, match="cannot be read as an ONNX file"):
        compression.quantize(garbage, target)
    with pytest.raises(CompressionError, match=r"There is no file .*expected one that export"):
        compression.quantize(tmp_path / "none.onnx", target)
    with pytest.raises(CompressionError, match="BertForMaskedLM has no classifier"):
        compression.export(tiny_bert("BertForMaskedLM", vocab_size=100), target)
    monkeypatch.setattr(compression.exporting, "TOLERANCE", -1.0)
    with pytest.raises(CompressionError, match=r"differ from PyTorch's by .*Nothing was written"):
        compression.export(tiny_bert(vocab_size=100), target)
    assert target.read_text() == "the old one"
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "garbage.onnx"}
    text = '<ir_version: 10, opset_import: ["": 18]> minus (float[1] x) => (float[1] y) {y = Neg(x)}'
    save(parser.parse_model(text), tmp_path / "linear.onnx")
    with pytest.raises(CompressionError, match="takes x: expected input_ids and attention_mask"):
        compression.OnnxClassifier(tmp_path / "linear.onnx")
