"""Pretrains the small BERT that ships in data/models/pocket-bert, a few minutes at a time.

    python -m benchmarks.pocket_bert --minutes 5            # as often as you like; each goes on from the last
    python -m benchmarks.pocket_bert --minutes 5 --final    # in its second half the learning rate falls to 0
    python -m benchmarks.pocket_bert --export               # writes data/models/pocket-bert

Shape, vocabulary and loop are those of “Pretrain a BERT”. What each sitting cost is measured and kept, so
the receipt says what the whole model cost.
"""

import argparse
import math
import shutil
from pathlib import Path

import torch
import transformers

from benchmarks import COUNTRY, TODAY, begin, domains, save
from helpers import assets, data, energy, pretraining, receipts, transformer
from helpers.values import replacing

WORK = assets.ROOT / "artifacts" / "pretrain"
TARGET = assets.DATA / "models" / "pocket-bert"
CARD = Path(__file__).with_name("pocket_bert_card.md")
OPTIMIZER = "optimizer.pt"  # the one file that doesn't ship
VOCAB_SIZE, LENGTH = 8_000, 64
SHAPE = {"num_hidden_layers": 2, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1_024}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SETTINGS = {"batch_size": 32, "learning_rate": 1e-3}
WARMUP_STEPS = 200
FIRST_TOKENS_PER_S = 10_000  # a guess for the first sitting; later ones know
CURVE_STEPS = 50  # steps whose mean makes one point of the loss curve


def pack(texts: list[str], tokenizer, length: int) -> torch.Tensor:
    """Cut texts, written one after another, into sequences of one length: nothing is padding.

    Each sequence (int64, sequences x length) begins with [CLS]; [SEP] stands where a text ends. What is left
    over at the end is dropped.
    """
    parts = []
    for start in range(0, len(texts), 10_000):  # as Python's lists all ids at once would take 200 MB
        rows = tokenizer(texts[start : start + 10_000], add_special_tokens=False, verbose=False)["input_ids"]
        parts.append(torch.tensor([token for row in rows for token in [*row, tokenizer.sep_token_id]]))
    tokens = torch.cat(parts)
    count = len(tokens) // (length - 1)
    body = tokens[: count * (length - 1)].view(count, length - 1)
    return torch.cat([torch.full((count, 1), tokenizer.cls_token_id), body], dim=1)


def new(train: list[str]) -> tuple:
    """Learn the vocabulary and make a model with random weights, but the right frequencies and positions.

    Without dropout: a short run sees each text a few times, and has more to fear from learning too little.
    """
    tokenizer = pretraining.train_tokenizer(train, VOCAB_SIZE)
    tokenizer.model_max_length = LENGTH
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH, "layer_norm_eps": 1e-12}
    sequences = pack(train, tokenizer, LENGTH)
    p = pretraining.frequencies(sequences, len(tokenizer), never=tokenizer.all_special_ids)
    model = pretraining.start(SHAPE | sizes | NO_DROPOUT, p)
    return model, tokenizer, None, []


def last() -> tuple:
    """The model, its tokenizer, its optimizer and the sittings so far, as `keep` left them."""
    model = transformer.language_model(WORK)
    optimizer = torch.optim.AdamW(model.parameters(), betas=pretraining.BETAS, fused=True)
    optimizer.load_state_dict(torch.load(WORK / OPTIMIZER, weights_only=True))
    sittings = receipts.replay(WORK / "receipt.json").details["sittings"]
    return model, transformers.BertTokenizer.from_pretrained(WORK), optimizer, sittings


def sit(minutes: float, final: bool) -> None:
    """Train for about so many minutes, and write the model, the optimizer and the longer receipt."""
    train, held_out = (data.load_corpus(split)["text"][:] for split in ("train", "held_out"))
    model, tokenizer, optimizer, sittings = last() if WORK.exists() else new(train)
    sequences = pack(train, tokenizer, LENGTH)
    speed = sittings[-1]["tokens"] / sittings[-1]["seconds"] if sittings else FIRST_TOKENS_PER_S
    steps = max(1, round(minutes * 60 * speed / (LENGTH * SETTINGS["batch_size"])))
    settings = SETTINGS | {"steps": steps, "seed": len(sittings), "optimizer": optimizer}
    settings |= {"warmup_steps": 0 if sittings else min(WARMUP_STEPS, steps)}
    settings |= {"decay_steps": steps // 2 if final else 0}
    loss = pretraining.masked(tokenizer, seed=len(sittings))
    with energy.measure(f"sitting {len(sittings) + 1}", country=COUNTRY) as meter:
        history = pretraining.pretrain(model, sequences, loss, **settings)
    score = pretraining.evaluate_masked(model, pack(held_out, tokenizer, LENGTH), tokenizer)
    print(f"sitting {len(sittings) + 1}: {len(history.loss)} steps, {score}, {meter.result}", flush=True)
    sittings.append(
        {"steps": len(history.loss), "tokens": history.tokens, "seconds": history.seconds}
        | {"date": TODAY, "threads": torch.get_num_threads()}
        | {"held_out_loss": score.loss, "top1": score.top1, "top5": score.top5}
        | {"loss": curve(history.loss), "cost": meter.result}
        | {"guesses": {gap: pretraining.guess(model, tokenizer, gap) for gap in domains.GAPS}}
    )
    found = {"final": final and history.stopped == "end", "sittings": sittings}
    keep(model, tokenizer, history.optimizer, found | {"corpus_tokens": sequences.numel()})


def curve(losses: list[float]) -> list[float]:
    """Mean loss of each run of steps, enough to draw."""
    parts = [losses[start : start + CURVE_STEPS] for start in range(0, len(losses), CURVE_STEPS)]
    return [round(math.fsum(part) / len(part), 4) for part in parts]


def keep(model, tokenizer, optimizer, found: dict) -> None:
    """Write the whole state in one piece: an interrupt leaves the old one."""
    what = "pretraining of pocket-bert, sitting by sitting"
    files = ("corpus/train.txt.bz2", "corpus/held_out.txt.bz2")
    settings = {**SETTINGS, "warmup_steps": WARMUP_STEPS, "length": LENGTH, "curve_steps": CURVE_STEPS}
    with replacing(WORK) as folder:
        transformer.save(model, folder)
        tokenizer.save_pretrained(folder)
        torch.save(optimizer.state_dict(), folder / OPTIMIZER)
        path = folder / "receipt.json"
        save(path, "benchmarks.pocket_bert", what, files=files, settings=settings, details=found)


def card(stored: receipts.Replay) -> str:
    """The model card: the figures of a receipt, put into pocket_bert_card.md."""
    sittings = stored.details["sittings"]
    costs = [sitting["cost"] for sitting in sittings]
    tokens = sum(sitting["tokens"] for sitting in sittings)
    figures = sittings[-1] | {
        "minutes": f"{sum(cost.wall_s for cost in costs) / 60:.0f}",
        "tokens": f"{tokens / 1e6:.0f}",
        "passes": f"{tokens / stored.details['corpus_tokens']:.1f}",
        "energy_wh": f"{sum(cost.energy_wh for cost in costs):.1f}",
        "co2e_g": f"{sum(cost.co2e_g for cost in costs):.1f}",
        "intensity": costs[0].intensity_source,
        "hardware": receipts.hardware_name(stored.receipt),
        "date": sittings[0].get("date", stored.receipt["recorded"]),
        "sittings": len(costs),
        "single": sum(sitting.get("threads") == 1 for sitting in sittings),
        "foreign": f"{max(cost.foreign_load for cost in costs):.0%}",
    }
    return CARD.read_text(encoding="utf-8").format_map(figures)


def export() -> None:
    """Copy the finished model into the repository, with its card and without its optimizer."""
    stored = receipts.replay(WORK / "receipt.json")
    if not stored.details["final"]:
        raise SystemExit("The run is not finished: make a last sitting with --final first.")
    with replacing(TARGET) as folder:
        shutil.copytree(WORK, folder, ignore=shutil.ignore_patterns(OPTIMIZER))
        (folder / "README.md").write_text(card(stored), encoding="utf-8", newline="\n")
    print(f"{TARGET} is written. List its sums: python data/make.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to train (default: 5)")
    parser.add_argument("--final", action="store_true", help="the last: the learning rate falls to 0")
    parser.add_argument("--export", action="store_true", help="write data/models/pocket-bert, train nothing")
    chosen = parser.parse_args()
    if chosen.export:
        export()
    else:
        sit(chosen.minutes, chosen.final)


if __name__ == "__main__":
    begin()
    main()
