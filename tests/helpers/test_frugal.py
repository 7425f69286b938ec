"""What saves operations changes no answer."""

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, set_seed

from helpers import transformer


def tiny(dropout=0.0):
    set_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return BertForSequenceClassification(BertConfig(vocab_size=50, **shape, **dropouts))


@pytest.fixture
def batch():
    """Five rows of different lengths, one of them a single token."""
    lengths = torch.tensor([7, 3, 1, 9, 5])
    mask = (torch.arange(9) < lengths.unsqueeze(1)).long()
    torch.manual_seed(1)
    return {
        "input_ids": torch.randint(1, 50, mask.shape) * mask,
        "attention_mask": mask,
        "labels": torch.tensor([0, 1, 1, 0, 1]),
    }


def losses_and_gradients(model, batch):
    output = model(**batch)
    output.loss.backward()
    return output.logits, {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("masked", [True, False])
def test_logits_and_gradients_stay(batch, attention, masked):
    if not masked:
        del batch["attention_mask"]
    models = [tiny().train(), transformer.first_position_only(tiny()).train()]
    for model in models:
        model.set_attn_implementation(attention)
    (logits, gradients), (same_logits, same_gradients) = (losses_and_gradients(m, batch) for m in models)
    torch.testing.assert_close(same_logits, logits, atol=1e-6, rtol=1e-5)
    assert same_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(same_gradients[name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_it_computes_less(batch):
    from torch.utils.flop_counter import FlopCounterMode

    def operations(model):
        with FlopCounterMode(display=False) as counter:
            model(**batch).loss.backward()
        return counter.get_total_flops()

    assert operations(transformer.first_position_only(tiny())) < 0.9 * operations(tiny())


def test_weights_move_between_the_two():
    whole = tiny()
    transformer.first_position_only(tiny()).load_state_dict(whole.state_dict())


def test_dropout_still_drops(batch):
    model = transformer.first_position_only(tiny(dropout=0.5)).train()
    assert not torch.equal(model(**batch).logits, model(**batch).logits)
    model.eval()
    assert torch.equal(model(**batch).logits, model(**batch).logits)


def test_a_model_that_evaluates_goes_on_evaluating(batch):
    model = tiny(dropout=0.5).eval()
    before = model(**batch).logits
    assert torch.allclose(transformer.first_position_only(model)(**batch).logits, before, atol=1e-6)
    assert transformer.first_position_only(tiny().train()).bert.encoder.layer[-1].training


def test_another_head_is_refused():
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(ValueError, match=r"BertForMaskedLM: expected a BERT whose head reads the pooler"):
        transformer.first_position_only(BertForMaskedLM(config))
