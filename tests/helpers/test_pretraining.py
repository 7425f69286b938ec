"""Pretraining: vocabulary, packing, masks, the loop of “Pretrain a BERT”, and what is refused."""

import functools
import json
import math
import re

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import entropy
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertForMaskedLM, BertTokenizer, DataCollatorForLanguageModeling

from benchmarks import pocket_bert
from helpers import assets, data, pretraining, transformer
from helpers.training import TrainingError
from tests.shared import TINY, interrupt_at

LENGTH, corpus = 16, functools.cache(data.load_corpus)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def texts():
    return corpus("held_out")["text"][:600]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return pretraining.train_tokenizer(texts, 800)


@pytest.fixture(scope="module")
def sequences(texts, tokenizer):
    return pocket_bert.pack(texts, tokenizer, LENGTH)


@pytest.fixture
def model(tokenizer):
    return tiny(tokenizer)


def tiny(tokenizer):
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH, "layer_norm_eps": 1e-12}
    return transformer.LanguageModel(TINY | sizes)


def run(model, sequences, tokenizer, loss=None, **settings):
    settings = {"steps": 6, "batch_size": 8, "learning_rate": 1e-3, "precision": "no", **settings}
    loss = loss or pretraining.masked(tokenizer, settings.get("seed", 0))
    return pretraining.pretrain(model, sequences, loss, **settings)


def plain(text):
    return " ".join(re.findall(r"\w+", text.lower()))


def test_the_corpus_is_what_its_card_says():
    train, held_out = corpus("train"), corpus("held_out")
    sources = ["wordnet", "factbook", "austen", "wikipedia", "reviews"]
    for split, low, high in ((train, 3.0e6, 3.5e6), (held_out, 5e4, 8e4)):
        assert list(dict.fromkeys(split["source"][:])) == sources
        assert low < sum(len(text.split()) for text in split["text"][:]) < high
        assert all(text == " ".join(text.split()) and text for text in split["text"][:])
    assert sum(path.stat().st_size for path in (assets.DATA / "corpus").iterdir()) < 10e6
    with pytest.raises(data.DataError, match="no split 'test' of the corpus: expected 'train' or 'held_out'"):
        data.load_corpus("test")


def test_neither_a_held_out_sentence_nor_a_review_that_is_tested_on_is_in_training():
    both = (corpus(split)["text"][:] for split in ("train", "held_out"))
    splits = [[[plain(part) for part in re.split(r"[.!?;]", text)] for text in texts] for texts in both]
    train, held_out = ({part for text in some for part in text if part.count(" ") > 2} for some in splits)
    assert len(held_out) > 3_000 and not train & held_out
    whole = {" ".join(filter(None, text)) for some in splits for text in some}
    tested = {plain(text) for split in ("validation", "test") for text in data.load_reviews(split)["text"][:]}
    assert not tested & whole
    own = [row["text"] for row in corpus("held_out") if row["source"] == "reviews"]
    assert own and set(own) <= {" ".join(text.split()) for text in data.load_reviews("train")["text"][:]}


def test_the_vocabulary(tokenizer, texts):
    assert len(tokenizer) == 800
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer("The FILM [MASK].")["input_ids"][-3] == tokenizer.mask_token_id
    again = pretraining.train_tokenizer(texts[::-1], 800)  # the library alone breaks ties by chance
    assert again.get_vocab() == tokenizer.get_vocab()


def test_packing_loses_only_the_end(tokenizer, texts, sequences):
    assert sequences.dtype == torch.int64 and sequences.shape[1] == LENGTH
    assert (sequences[:, 0] == tokenizer.cls_token_id).all() and (sequences != tokenizer.pad_token_id).all()
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    whole = [token for text in ids for token in [*text, tokenizer.sep_token_id]]
    packed = sequences[:, 1:].flatten().tolist()
    assert packed == whole[: len(packed)] and len(whole) - len(packed) < LENGTH - 1


def test_masking_is_what_transformers_draws(tokenizer, sequences):
    original = sequences[:1_500].clone()
    original[::5, -3:] = pretraining.PADDING
    input_ids, labels = pretraining.mask(original, tokenizer, torch.Generator().manual_seed(7))
    theirs = DataCollatorForLanguageModeling(tokenizer, seed=7)(list(original))
    assert torch.equal(theirs["input_ids"], input_ids) and torch.equal(theirs["labels"], labels)


def test_the_head_at_masked_places_is_that_of_transformers_everywhere(model, tokenizer, sequences, tmp_path):
    transformer.save(model, tmp_path)
    theirs = BertForMaskedLM.from_pretrained(tmp_path).eval()
    input_ids, labels = pretraining.mask(sequences[:8], tokenizer, torch.Generator().manual_seed(0))
    batch = {"input_ids": input_ids, "labels": labels}
    few, everywhere = pretraining.masked_loss(model, **batch), theirs(**batch).loss
    torch.testing.assert_close(few, everywhere, atol=1e-5, rtol=0)
    (few + everywhere).backward()
    found = {name: weight.grad for name, weight in model.named_parameters()}
    for name, weight in theirs.named_parameters():
        if "token_type" not in name:  # theirs has a second row, never read
            torch.testing.assert_close(found[transformer.renamed(name)], weight.grad, atol=1e-5, rtol=1e-3)
    again = transformer.language_model(tmp_path).state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in model.state_dict().items())


def test_the_causal_loss_is_the_mean_over_next_tokens_and_falls(model, tokenizer, sequences):
    log_p = model(few := sequences[:8], causal=True).log_softmax(dim=-1)
    by_hand = -log_p[:, :-1].gather(2, few[:, 1:, None]).mean().item()
    assert pretraining.causal_loss(model, few).item() == pytest.approx(by_hand)
    losses = run(model, few, tokenizer, pretraining.causal_loss, steps=20, learning_rate=5e-3).loss
    assert losses[-1] < losses[0] - 1


def test_it_is_the_loop_that_the_notebook_writes_out_and_the_seed_decides(model, tokenizer, sequences):
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98))
    draw, rows = torch.Generator().manual_seed(5), pretraining.batches(sequences, 8, seed=5)
    steps, warmup_steps, decay_steps, learning_rate = 8, 3, 4, 1e-3
    losses = []
    for step in range(steps):
        share = min(1, (step + 1) / (warmup_steps + 1), (steps - step) / (decay_steps + 1))
        optimizer.param_groups[0]["lr"] = learning_rate * share
        input_ids, labels = pretraining.mask(next(rows), tokenizer, draw)
        masked = labels != -100
        loss = F.cross_entropy(model.head(model.body(input_ids)[masked]), labels[masked])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    settings = {"steps": 8, "warmup_steps": 3, "decay_steps": 4, "watch": (watched := []).append}
    runs = [run(tiny(tokenizer), sequences, tokenizer, seed=seed, **settings) for seed in (5, 5, 6)]
    assert runs[0].loss == runs[1].loss != runs[2].loss and watched == 3 * list(range(9))
    np.testing.assert_allclose(runs[0].loss, losses, atol=1e-4)
    assert runs[0].tokens == 8 * 8 * LENGTH and runs[0].stopped == "end"


def test_it_starts_from_what_counting_knows_and_looks_next_door(model, tokenizer, sequences):
    score = pretraining.evaluate_masked(model, sequences, tokenizer)
    assert score.loss == pytest.approx(math.log(800), abs=0.1)
    assert score.top1 < 0.02 < 0.1 > score.top5 >= score.top1 and str(score).startswith("loss 6.")
    p = pretraining.frequencies(sequences, 800, never=tokenizer.all_special_ids)
    assert p.sum().item() == pytest.approx(1) and p.topk(795).values[-1] > 0 == p[tokenizer.sep_token_id]
    started = pretraining.start(model.config, p)
    counted = pretraining.evaluate_masked(started, sequences, tokenizer)
    assert counted.loss == pytest.approx(entropy(p), abs=0.15)
    guesses = pretraining.guess(started, tokenizer, "a [MASK] of", top=3)
    assert list(guesses.values()) == sorted(guesses.values(), reverse=True) and len(guesses) == 3
    assert set(guesses) <= set(tokenizer.convert_ids_to_tokens(p.topk(8).indices))
    attention, places = started.body.blocks[1].attention, started.body.positions.weight
    q, k = (part(places).view(LENGTH, 2, 16).transpose(0, 1) for part in (attention.query, attention.key))
    back, ahead = (q @ k.transpose(1, 2)).argmax(dim=-1).tolist()  # where a head looks, by positions alone
    assert back[1:] == list(range(LENGTH - 1)) and ahead[:-1] == list(range(1, LENGTH))


def test_it_learns_beyond_the_frequencies(model, tokenizer, sequences):
    two = sequences[:2].repeat(100, 1)
    counts = torch.bincount(two.flatten())
    counts[tokenizer.all_special_ids] = 0
    run(model, two, tokenizer, steps=150, learning_rate=5e-3, warmup_steps=10, decay_steps=50)
    assert pretraining.evaluate_masked(model, two, tokenizer).loss < entropy(counts) - 1


def test_an_interrupt_keeps_all(tokenizer, sequences):
    interrupt_at((model := tiny(tokenizer)).body, 3)
    history, whole = run(model, sequences, tokenizer), run(tiny(tokenizer), sequences, tokenizer)
    assert history.stopped == "interrupted" and history.loss == whole.loss[:3]


def test_operations_are_counted_as_pytorch_counts_them(model):
    input_ids = torch.randint(5, 800, (40, LENGTH))
    labels = torch.full_like(input_ids, -100)
    labels.view(-1)[torch.randperm(labels.numel())[: round(pretraining.MASKED_FRACTION * labels.numel())]] = 7
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        pretraining.masked_loss(model, input_ids, labels).backward()
    counted = counter.get_total_flops() / input_ids.numel()
    assert pretraining.flops_per_token(model.config, LENGTH) == pytest.approx(counted, rel=0.02)


def test_what_does_not_fit_and_settings_out_of_range_are_refused(model, tokenizer, texts, sequences):
    for some, size in (([], 800), (["   "], 800), (texts, 40)):
        with pytest.raises(TrainingError, match=f"vocab_size is {size}: expected texts with words, and more"):
            pretraining.train_tokenizer(some, size)
    wrong = [("steps", 0), ("steps", 1.5), ("batch_size", 0), ("batch_size", 10**6), ("learning_rate", 0)]
    wrong += [("warmup_steps", 7), ("decay_steps", -1), ("precision", "fp8")]
    for rows, settings, message in (
        (sequences + 400, {}, "packed with another tokenizer"),
        (sequences.repeat(1, 2), {}, f"{2 * LENGTH} tokens long, .* {LENGTH} positions: make the sequences"),
        (sequences, {"warmup": 3}, "no setting 'warmup': expected steps, batch_size, learn"),
        (sequences[:0], {}, "The corpus is empty"),
        *((sequences, {name: value}, f"{name} is {value!r}: expected") for name, value in wrong),
    ):
        with pytest.raises(TrainingError, match=message):
            run(model, rows, tokenizer, **settings)


def test_pocket_bert_is_as_good_as_its_receipt_says_and_cost_what_its_card_says():
    folder = assets.DATA / "models/pocket-bert"
    model, tokenizer = transformer.language_model("pocket-bert"), BertTokenizer.from_pretrained(folder)
    found = json.loads((folder / "receipt.json").read_text())["details"]
    held = pocket_bert.pack(corpus("held_out")["text"][:], tokenizer, 64)
    score = pretraining.evaluate_masked(model, held[::4], tokenizer)
    assert score.loss == pytest.approx(found["moments"][-1]["held_out_loss"], abs=0.15)
    assert score.loss < 2.8 and score.top5 > 0.65
    card, cost = yaml.safe_load((folder / "README.md").read_text().split("---")[1]), found["cost"]["results"]
    assert card["co2_eq_emissions"]["emissions"] == pytest.approx(cost["co2e_g"], rel=0.05)
    for words, sentence in (
        ({"states"}, "united [MASK] of america"),
        ({"who"}, "a person [MASK] writes books"),
        ({"to"}, "of or relating [MASK] the heart"),
        ({"atlantic", "pacific"}, "a small island in the [MASK] ocean"),
    ):
        assert words < set(pretraining.guess(model, tokenizer, sentence))
