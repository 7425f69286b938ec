"""The plain network is that of Transformers, and neither padding nor saving operations changes an answer."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.labels import MeanClassifier
from cluster import reviews
from helpers import assets, transformer
from tests.shared import run_cells, tiny_bert


def tiny(kind="BertForSequenceClassification", dropout=0.0):
    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return tiny_bert(kind, vocab_size=50, num_hidden_layers=3, **dropouts)


def test_its_answers_are_those_of_transformers():
    input_ids, attention_mask, labels = reviews.pad(reviews.read("validation", 12))
    ours = transformer.load(seed=0)
    theirs = MeanClassifier.from_pretrained(assets.resolve_model("pocket-bert"))
    theirs.classifier.load_state_dict(ours.classifier.state_dict())
    expected, logits = theirs(input_ids, attention_mask, labels), ours(input_ids, attention_mask)
    assert logits.std() > 0.01
    torch.testing.assert_close(logits, expected.logits, rtol=1e-4, atol=1e-5)
    expected.loss.backward()
    torch.nn.functional.cross_entropy(logits, labels).backward()
    assert all(weight.grad is not None for weight in ours.parameters()), "every weight takes part"
    found, wanted = ours.body.words.weight, theirs.bert.embeddings.word_embeddings.weight
    torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-3, atol=1e-6)


def test_the_network_is_that_of_the_notebook():
    given = {"math": math, "torch": torch, "nn": torch.nn, "F": torch.nn.functional}
    names = run_cells("inside_a_transformer", "model", **given)
    config, _ = transformer.stored("pocket-bert")
    ours, theirs = transformer.Transformer(config), names["Transformer"](config)
    theirs.load_state_dict(ours.state_dict())  # the same weights under the same names
    input_ids, mask, _ = reviews.pad(reviews.read("validation", 6))
    for causal in (False, True):
        expected, found = (network(input_ids, mask, causal) for network in (ours, theirs))
        torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], rtol=1e-4, atol=1e-5)


def test_a_causal_language_model_sees_no_future():
    ours = transformer.LanguageModel(tiny("BertForMaskedLM").config.to_dict())
    ids, other = torch.tensor([[2, 9, 11, 30, 3]]), torch.tensor([[2, 9, 11, 8, 7]])
    torch.testing.assert_close(ours(ids, causal=True)[:, :3], ours(other, causal=True)[:, :3])
    assert not torch.allclose(ours(ids)[:, :3], ours(other)[:, :3], atol=1e-3)


def test_a_classifier_of_the_mean_leaves_padding_out(tmp_path):
    model = tiny("BertForMaskedLM").eval()
    model.save_pretrained(tmp_path)
    classifier, ids = MeanClassifier.from_pretrained(tmp_path).eval(), torch.tensor([[2, 9, 11, 3]])
    alone = classifier(ids, torch.ones_like(ids)).logits
    padded = classifier(torch.tensor([[2, 9, 11, 3, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0, 0]])).logits
    assert torch.allclose(alone, padded, atol=1e-6)
    hidden = model.bert(ids).last_hidden_state  # the pretrained weights, read by hand
    assert torch.allclose(alone, classifier.classifier(hidden.mean(dim=1)), atol=1e-6)
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(assets.AssetError, match=r"cannot be read \(.*: expected a whole model\.safetensors"):
        transformer.language_model(tmp_path)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    mask = (torch.arange(9) < torch.tensor([[7], [3], [1], [9], [5]])).long()
    input_ids, labels = torch.randint(1, 50, mask.shape) * mask, torch.tensor([0, 1, 1, 0, 1])
    return {"input_ids": input_ids, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("masked", [True, False])
def test_logits_and_gradients_stay_and_take_fewer_operations(batch, attention, masked):
    if not masked:
        del batch["attention_mask"]
    logits, gradients, operations = [], [], []
    for model in (tiny().train(), transformer.first_position_only(tiny()).train()):
        model.set_attn_implementation(attention)
        with FlopCounterMode(display=False) as counter:
            output = model(**batch)
            output.loss.backward()
        operations.append(counter.get_total_flops())
        logits.append(output.logits)
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    torch.testing.assert_close(*logits, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)  # under the same names
    assert operations[1] < 0.9 * operations[0]


def test_dropout_still_drops_a_model_that_evaluates_goes_on_and_another_head_is_refused(batch):
    model = transformer.first_position_only(tiny(dropout=0.5)).train()
    assert not torch.equal(model(**batch).logits, model(**batch).logits)
    model.eval()
    assert torch.equal(model(**batch).logits, model(**batch).logits)
    model = tiny(dropout=0.5).eval()
    before = model(**batch).logits
    assert torch.allclose(transformer.first_position_only(model)(**batch).logits, before, atol=1e-6)
    assert transformer.first_position_only(tiny().train()).bert.encoder.layer[-1].training
    with pytest.raises(ValueError, match=r"BertForMaskedLM: expected a BERT whose head reads the pooler"):
        transformer.first_position_only(tiny("BertForMaskedLM"))
