"""The plain network and its data are those of the rest of the course."""

import pytest
import torch

from helpers import assets, data, transformer


@pytest.fixture(scope="module")
def batch():
    return transformer.pad(transformer.read("validation", 12))


def test_its_answers_are_those_of_transformers(batch):
    input_ids, attention_mask, labels = batch
    ours = transformer.load(seed=0)
    theirs = transformer.mean_classifier(assets.resolve_model("pocket-bert"))
    theirs.classifier.load_state_dict(ours.classifier.state_dict())
    expected = theirs(input_ids, attention_mask, labels)
    logits = ours(input_ids, attention_mask)
    assert logits.std() > 0.01
    torch.testing.assert_close(logits, expected.logits, rtol=1e-4, atol=1e-5)
    expected.loss.backward()
    torch.nn.functional.cross_entropy(logits, labels).backward()
    torch.testing.assert_close(
        ours.words.weight.grad, theirs.bert.embeddings.word_embeddings.weight.grad, rtol=1e-3, atol=1e-6
    )


def test_every_weight_takes_part(batch):
    model = transformer.load(seed=0)
    model(*batch[:2]).sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_the_head_follows_the_seed_and_the_rest_does_not():
    one, same, other = (transformer.load(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    differing = {name for name in one if not torch.equal(one[name], other[name])}
    assert differing == {"classifier.weight", "classifier.bias"}


def test_its_tokens_are_those_of_the_tokenizer():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(assets.resolve_model("pocket-bert"))
    rows = data.take(data.load_reviews("train"), 50)
    expected = data.tokenize(rows, tokenizer, max_length=64)
    ours = transformer.read("train", 50)
    assert [ids.tolist() for ids, _ in ours] == expected["input_ids"][:]
    assert [label for _, label in ours] == expected["label"][:]


def test_padding_changes_no_answer():
    sentences = transformer.read("train", 2)
    model = transformer.load(seed=0).eval()
    with torch.inference_mode():
        together = model(*transformer.pad(sentences)[:2])
        alone = torch.cat([model(*transformer.pad([sentence])[:2]) for sentence in sentences])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_pass_sees_no_sentence_twice_and_makes_whole_batches():
    sentences = [(torch.tensor([row]), 0) for row in range(10)]
    orders = [
        [ids.flatten().tolist() for ids, *_ in transformer.batches(sentences, 4, seed)] for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert [len(batch) for batch in orders[0]] == [4, 4] and len({*orders[0][0], *orders[0][1]}) == 8


def test_more_sentences_than_there_are_are_refused():
    with pytest.raises(ValueError, match=r"rows is 1,001: expected 1,000 at most, as validation.csv"):
        transformer.read("validation", 1_001)
