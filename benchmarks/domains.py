"""Records the search for a text that teaches a small model much in little time.

    python -m benchmarks.domains    # some ten minutes on 2 cores; after an interrupt it goes on

A model of the shape in “Pretrain a BERT” reads 800,000 tokens of each text, with a vocabulary learned from
it, and is scored on held-out text of the same kind: by how many nats is it better than guessing by frequency,
and how many of the notebook's ten gaps does it fill with a word that was noted as sensible beforehand? One
more run starts from BERT's random weights alone. Writes data/receipts/domains.json.
"""

import json
import re
from functools import partial
from pathlib import Path

import torch

from benchmarks import COUNTRY, RECEIPTS, begin, record, recorded, save
from helpers import data, energy, pretraining, transformer

RECEIPT = RECEIPTS / "domains.json"
THINGS = "definitions of things"
CANDIDATES = [(name, 2_000, "next door") for name in (THINGS, "definitions", "entries", "factbook", "austen")]
CANDIDATES += [("wikipedia", 2_000, "next door"), (THINGS, 4_000, "next door"), (THINGS, 2_000, "random")]
SHAPE = {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 256}
FILES = ("corpus/train.txt.bz2", "corpus/held_out.txt.bz2")
LENGTH, STEPS = 20, 833
SETTINGS = {"batch_size": 48, "learning_rate": 2e-3, "warmup_steps": 100, "decay_steps": 733}
# With words for each; fixed before any model was trained, four doubtful ones were struck out later.
GAPS = json.loads(Path(__file__).with_name("gaps.json").read_bytes())


def texts(name: str, split: str) -> list[str]:
    """The texts of one kind: entries, definitions, or the sentences of a source."""
    sources = data.load_corpus(split).to_pandas().groupby("source")["text"].apply(list)
    if name in sources:
        return [part for text in sources[name] for part in re.split(r"(?<=[.;!?]) ", text)]
    if name == "entries":
        return sources["wordnet"]
    definitions = [re.split(r'; ?"', entry.split(": ", 1)[1])[0] for entry in sources["wordnet"]]
    begins = r"(a|an|any|the|someone|something|one) " if name == THINGS else ""
    return [text for text in definitions if re.match(begins, text)]


def read(name: str, vocab_size: int, heads: str) -> dict:
    """Train on one kind of text, and say what that taught."""
    train, held = (texts(name, split) for split in ("train", "held_out"))
    tokenizer = pretraining.train_tokenizer(train, vocab_size)
    cut = {"truncation": True, "max_length": LENGTH, "padding": "max_length", "return_tensors": "pt"}
    rows, held_rows = (tokenizer(some, **cut)["input_ids"] for some in (train, held[:600]))
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH, "layer_norm_eps": 1e-12}
    p = pretraining.frequencies(rows, len(tokenizer), never=tokenizer.all_special_ids)
    model = pretraining.start(SHAPE | sizes, p)
    if heads == "random":
        model = transformer.LanguageModel(SHAPE | sizes)
        model.bias.data = p.clamp(min=1e-9).log()
    labels = pretraining.mask(held_rows, tokenizer, torch.Generator().manual_seed(0))[1]
    unigram = -p[labels[labels != -100]].log().mean().item()
    with energy.measure(name, country=COUNTRY) as meter:
        loss = pretraining.masked(tokenizer, seed=0)
        history = pretraining.pretrain(model, rows, loss, steps=STEPS, precision="no", **SETTINGS)
    score = pretraining.evaluate_masked(model, held_rows, tokenizer)
    first = {gap: next(iter(pretraining.guess(model, tokenizer, gap, top=1))) for gap in GAPS}
    sensible = sum(word in GAPS[gap].split() for gap, word in first.items())
    found = {"words": sum(len(text.split()) for text in train), "tokens": history.tokens, "unigram": unigram}
    found |= {"loss": score.loss, "top1": score.top1, "sensible": sensible, "first": first}
    return found | {"threads": torch.get_num_threads(), "cost": meter.result}


def main() -> None:
    settings = {"shape": SHAPE, "length": LENGTH, "steps": STEPS, **SETTINGS}
    what, files = "what 800,000 tokens teach, by kind of text", FILES
    keep = partial(save, RECEIPT, "benchmarks.domains", what, files, settings)
    record(recorded(RECEIPT)[0], CANDIDATES, ("name", "vocab_size", "heads"), read, keep)


if __name__ == "__main__":
    begin(__doc__)
    main()
