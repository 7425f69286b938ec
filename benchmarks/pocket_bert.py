"""Pretrains the small BERT that ships in data/models/pocket-bert, in one go.

    python -m benchmarks.pocket_bert            # 3 minutes on an H100; 2 cores, by --short, need 3 hours
    python -m benchmarks.pocket_bert --short    # a tenth of it, not shipped: 17 minutes on 2 cores

Shape, vocabulary and loop are those of “Pretrain a BERT”. At a dozen moments it is scored on held-out text
and fills the notebook's ten gaps; a receipt holds that, and what the whole run cost. The short one's is
data/receipts/pocket_bert.json, its model goes to artifacts/.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from benchmarks import COUNTRY, RECEIPTS, begin, domains, save
from helpers import assets, data, energy, pretraining, receipts, transformer
from helpers.values import replacing

TARGET = assets.DATA / "models" / "pocket-bert"
SHORT_TARGET, SHORT_RECEIPT = assets.ROOT / "artifacts" / "pocket-bert-short", RECEIPTS / "pocket_bert.json"
VOCAB_SIZE, LENGTH = 8_000, 64
SHAPE = {"num_hidden_layers": 2, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1_024}
# A text is seen a few times, so there is more to fear from learning too little.
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LONG = {"batch_size": 256, "steps": 16_000}  # large batches, as a GPU takes hardly longer for them
SHORT = {"batch_size": 32, "steps": 12_000}
LEARNING_RATE, WARMUP_STEPS = 1e-3, 200  # in the second half the learning rate falls to 0
MOMENTS, POINTS = 12, 240  # when it is looked at; on the stored curve of the loss


def pack(texts: list[str], tokenizer, length: int) -> torch.Tensor:
    """Cut texts, written one after another, into sequences of one length: nothing is padding.

    Each sequence (int64, sequences x length) begins with [CLS]; a text ends in [SEP]. The rest is dropped.
    """
    parts = []
    for start in range(0, len(texts), 10_000):  # as Python's lists all ids at once would take 200 MB
        rows = tokenizer(texts[start : start + 10_000], add_special_tokens=False, verbose=False)["input_ids"]
        parts.append(torch.tensor([token for row in rows for token in [*row, tokenizer.sep_token_id]]))
    body = torch.cat(parts).unfold(0, length - 1, length - 1)
    return torch.nn.functional.pad(body, (1, 0), value=tokenizer.cls_token_id)


def read(batch_size: int, steps: int, folder: Path) -> None:
    """Train, and write model, receipt and card in one piece; an interrupt leaves what was there."""
    train, held_out = (data.load_corpus(split)["text"][:] for split in ("train", "held_out"))
    tokenizer = pretraining.train_tokenizer(train, VOCAB_SIZE)
    tokenizer.model_max_length = LENGTH
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH, "layer_norm_eps": 1e-12}
    sequences = pack(train, tokenizer, LENGTH)
    p = pretraining.frequencies(sequences, len(tokenizer), never=tokenizer.all_special_ids)
    model = pretraining.start(SHAPE | sizes | NO_DROPOUT, p)
    held, seen = pack(held_out, tokenizer, LENGTH), []
    looks = {0, *np.geomspace(steps // 1_000, steps, MOMENTS).round()}  # steps, each a like factor later

    def watch(step: int) -> None:
        if step in looks:
            score = pretraining.evaluate_masked(model, held, tokenizer)
            print(f"step {step:,}: {score}", flush=True)
            guesses = {gap: pretraining.guess(model, tokenizer, gap, top=3) for gap in domains.GAPS}
            found = {"step": step, "held_out_loss": score.loss, "top1": score.top1, "top5": score.top5}
            seen.append(found | {"guesses": guesses})

    settings = {"batch_size": batch_size, "steps": steps, "learning_rate": LEARNING_RATE}
    settings |= {"warmup_steps": WARMUP_STEPS, "decay_steps": steps // 2}
    loss = pretraining.masked(tokenizer, seed=0)
    with energy.measure("pretraining", country=COUNTRY) as meter:
        history = pretraining.pretrain(model, sequences, loss, watch=watch, **settings)
    if history.stopped != "end":
        raise SystemExit(f"Stopped after {len(history.loss):,} of {steps:,} steps: nothing is written.")
    print(f"{history.seconds:.0f} s", meter.result, sep=" | ", flush=True)
    parts = [part.mean() for part in np.array_split(history.loss, POINTS)]
    found = {"steps": steps, "tokens": history.tokens, "seconds": history.seconds, "cost": meter.result}
    found |= {"loss": [round(float(part), 4) for part in parts], "moments": seen}
    found |= {"corpus_tokens": sequences.numel(), "threads": torch.get_num_threads()}
    with replacing(folder) as new_folder:
        transformer.save(model, new_folder)
        tokenizer.save_pretrained(new_folder)
        path, what = new_folder / "receipt.json", "pretraining of pocket-bert"
        save(path, "benchmarks.pocket_bert", what, domains.FILES, settings, found)
        (new_folder / "README.md").write_text(card(receipts.replay(path)), encoding="utf-8", newline="\n")
    print(f"{folder} is written. The course's own model's sums are listed by: python data/make.py")


def card(stored: receipts.Replay) -> str:
    """The model card: the figures of a receipt, put into pocket_bert_card.md."""
    found, receipt, cost = stored.details, stored.receipt, stored.details["cost"]
    figures = {"found": found, "receipt": receipt, "cost": cost, "last": found["moments"][-1]}
    figures |= {"minutes": found["seconds"] / 60, "hardware": receipts.hardware_name(receipt)}
    figures |= {"millions": found["tokens"] / 1e6, "passes": found["tokens"] / found["corpus_tokens"]}
    figures["method"] = f"{cost.method}; " + "; ".join(": ".join(p) for p in receipt["method"].items())
    return Path(__file__).with_name("pocket_bert_card.md").read_text(encoding="utf-8").format_map(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a tenth of it, into artifacts/")
    if parser.parse_args().short:
        read(**SHORT, folder=SHORT_TARGET)
        shutil.copyfile(SHORT_TARGET / "receipt.json", SHORT_RECEIPT)
    else:
        read(**LONG, folder=TARGET)


if __name__ == "__main__":
    begin()
    main()
