"""What is written is what Transformers writes, alone or together, and each end and each refusal is clear."""

import json
import shutil
import sys

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from helpers import assets, generation
from tests.shared import run_cells, tiny_bert

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPTS = ["a fine film", "the plot, the cast and the music were all one could wish for", "no"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Llama with random weights, queries in two groups, and the embedded model's tokenizer."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 30_522}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    path = tmp_path_factory.mktemp("llama")
    LlamaForCausalLM(LlamaConfig(**sizes, eos_token_id=102, initializer_range=0.3)).save_pretrained(path)
    AutoTokenizer.from_pretrained(assets.fetch_model()).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def writer(folder):
    return generation.load(str(folder))


def test_together_or_alone_it_writes_what_transformers_writes(writer):
    for prompt, answer in zip(PROMPTS, generation.write(writer, PROMPTS, 12), strict=True):
        ids = writer.tokenizer(prompt, return_tensors="pt")["input_ids"]
        ours = [answer.tokens, generation.write(writer, [prompt], 12)[0].tokens]
        settings = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 0}
        theirs = writer.model.generate(ids, max_new_tokens=12, **settings)[0, ids.shape[1] :].tolist()
        assert ours == [theirs, theirs] and len(set(theirs)) > 3
        assert answer.prompt_tokens == ids.shape[1]


@pytest.mark.parametrize("chunks", [[9], [1] * 9, [4, 1, 4], [8, 1]])
def test_a_text_gives_the_same_vectors_however_it_is_cut_and_a_copied_cache_stays_as_it_was(writer, chunks):
    ids = torch.randint(1_000, 2_000, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = writer.model(ids).logits
    cache, parts = {}, []
    for part in ids.split(chunks, dim=1):
        before = dict(cache)
        generation.forward(writer, part + 1, dict(cache))  # a guess that goes wrong
        assert before == cache
        parts.append(generation.forward(writer, part, cache))
    found = generation.logits(writer, torch.cat(parts, dim=1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_network_is_that_of_the_notebook(writer, capsys):
    ids = torch.randint(1_000, 2_000, (2, 9), generator=torch.Generator().manual_seed(2))
    given = {"torch": torch, "F": torch.nn.functional, "tokenizer": writer.tokenizer}
    names = run_cells("what_a_token_costs", "model", writer=writer, ids=ids, **given)
    cache, own = {}, {}
    for part in ids.split([5, 1, 3], dim=1):
        found, expected = names["forward"](writer, part, cache), generation.forward(writer, part, own)
        torch.testing.assert_close(found, expected)


def test_onnx_runtime_writes_the_same(writer):
    [answer], cache = generation.write(writer, PROMPTS[1:2], 9), {}
    ids = writer.tokenizer(PROMPTS[1:2], return_tensors="pt")["input_ids"]
    token = generation.logits(writer, generation.forward(writer, ids, cache)[:, -1:]).argmax(dim=-1)
    step, tokens = generation.onnx_step(writer), [token.item()]
    while len(tokens) < 9:
        expected = generation.logits(writer, generation.forward(writer, token, dict(cache)))
        torch.testing.assert_close(scores := step(token, cache), expected, rtol=1e-4, atol=1e-4)
        tokens.append((token := scores.argmax(dim=-1)).item())
    assert tokens == answer.tokens


def test_each_end_has_its_name(writer):
    [whole] = generation.write(writer, PROMPTS[:1], 12)
    word = whole.text.split()[4]
    [stopped] = generation.write(writer, PROMPTS[:1], 12, stop=word)
    [never] = generation.write(writer, PROMPTS[:1], 12, stop="a string that never comes")
    assert (whole.finish, stopped.finish, never.finish) == ("length", "stop", "length")
    assert never.text == whole.text and stopped.text == whole.text.split(word)[0]
    writer.config.eos_token_id = [102, whole.tokens[5]]  # the others go on without it
    ended, *others = generation.write(writer, PROMPTS, 12)
    writer.config.eos_token_id = None
    assert generation.write(writer, PROMPTS[:1], 12) == [whole]
    writer.config.eos_token_id = 102
    assert ended.finish == "end" and ended.tokens == whole.tokens[:6]
    assert others == generation.write(writer, PROMPTS[1:], 12)


def test_ctrl_c_keeps_what_is_written(writer, monkeypatch):
    [whole], steps, logits = generation.write(writer, PROMPTS[:1], 6), iter(range(9)), generation.logits
    stop = lambda *each: logits(*each) if next(steps) < 4 else (_ for _ in ()).throw(KeyboardInterrupt)  # noqa: E731
    monkeypatch.setattr(generation, "logits", stop)
    [answer] = generation.write(writer, PROMPTS[:1], 6)
    assert answer.finish == "interrupted" and answer.tokens == whole.tokens[:4]
    assert whole.text.startswith(answer.text) and answer.text


def test_what_cannot_be_written_is_refused(writer, monkeypatch):
    for prompts, new_tokens, message in (
        ([], 5, "expected a list of texts"),
        ("a film", 5, "expected a list of texts"),
        (["a film", None], 5, "expected a list of texts, and a text"),
        (["a film", "film " * 70], 5, "Prompt 2 has 72 tokens, and 5 may follow: expected at most 64 in all"),
        (["a film"], 61, "Prompt 1 has 4 tokens, and 61 may follow"),
        (["a film"], 0, "new_tokens is 0: expected a whole number from 1 to 64"),
    ):
        with pytest.raises(ValueError, match=message):
            generation.write(writer, prompts, new_tokens)
    with pytest.raises(ValueError, match=r"stop are .*, 5: expected a list of texts, and a text"):
        generation.write(writer, ["a film"], 5, stop=5)
    monkeypatch.setattr(type(writer.tokenizer), "__call__", lambda *_: {"input_ids": []})  # as SmolLM2's
    with pytest.raises(ValueError, match="Prompt 1 is empty: expected some text to go on from"):
        generation.write(writer, [""])


def test_a_model_that_does_not_fit_is_refused(folder, tmp_path):
    tiny_bert("BertForMaskedLM").save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match=r"has {'model_type': 'bert', .*: expected {'model_type': 'llama'"):
        generation.load(str(tmp_path / "bert"))
    for change, message in (
        ({"attention_bias": True}, "'attention_bias': True"),
        ({"vocab_size": 31_000}, "the config 31,000, the file 30,522 vectors: expected one for each"),
    ):
        changed = json.loads((folder / "config.json").read_text()) | change
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        (tmp_path / "config.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match=message):
            generation.load(str(tmp_path))


def test_llama_cpp_writes_and_without_it_the_course_goes_on(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "xllamacpp", None)
        assert generation.llama_cpp() is None
    pytest.importorskip("xllamacpp", reason="an optional part of the course")
    text, seconds = generation.llama_cpp()("One, two, three, four,", 2)
    assert text == " five," and 0 < seconds < 60
