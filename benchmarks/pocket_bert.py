"""Pretrains the small BERT that ships in data/models/pocket-bert, a few minutes at a time.

    python -m benchmarks.pocket_bert --minutes 5            # as often as you like; each goes on from the last
    python -m benchmarks.pocket_bert --minutes 5 --final    # in its second half the learning rate falls to 0
    python -m benchmarks.pocket_bert --export               # writes data/models/pocket-bert

Shape, vocabulary and loop are those of “Pretrain a BERT”. What each sitting cost is measured and kept, so
the receipt says what the whole model cost.
"""

import argparse
import json
import math
import os
import shutil
from pathlib import Path

import torch
import transformers
from accelerate.utils import set_seed

from benchmarks import recording
from helpers import assets, data, energy, pretraining

COUNTRY = "USA"
WORK = assets.ROOT / "artifacts" / "pretrain"
TARGET = assets.DATA / "models" / "pocket-bert"
CARD = Path(__file__).with_name("pocket_bert_card.md")
VOCAB_SIZE, LENGTH = 8_000, 64
SHAPE = {"num_hidden_layers": 2, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1_024}
SETTINGS = {"batch_size": 32, "learning_rate": 1e-3}
WARMUP_STEPS = 200
FIRST_TOKENS_PER_S = 10_000  # a guess for the first sitting; later ones know
CURVE_STEPS = 50  # steps whose mean makes one point of the loss curve


def begin(train: "list[str]") -> None:
    """Learn the vocabulary and make a model with random weights, but the right frequencies."""
    tokenizer = pretraining.train_tokenizer(train, VOCAB_SIZE)
    tokenizer.model_max_length = LENGTH
    set_seed(0)
    model = pretraining.new_model(tokenizer, length=LENGTH, **SHAPE)
    sequences = pretraining.pack(train, tokenizer, LENGTH)
    pretraining.start_from_frequencies(model, pretraining.frequencies(sequences, tokenizer))
    save(model, tokenizer, None, new_receipt())


def sit(minutes: float, final: bool) -> None:
    """Train for about so many minutes, and write the model, the optimizer and the longer receipt."""
    train, held_out = (data.load_corpus(split)["text"][:] for split in ("train", "held_out"))
    if not (WORK / "receipt.json").exists():
        begin(train)
    receipt = json.loads((WORK / "receipt.json").read_text())
    model = transformers.BertForMaskedLM.from_pretrained(WORK)
    tokenizer = transformers.BertTokenizer.from_pretrained(WORK)
    optimizer = None
    if (WORK / "optimizer.pt").exists():
        optimizer = torch.optim.AdamW(model.parameters(), betas=pretraining.BETAS, fused=True)
        optimizer.load_state_dict(torch.load(WORK / "optimizer.pt"))
    sequences = pretraining.pack(train, tokenizer, LENGTH)
    sittings = receipt["sittings"]
    receipt["corpus_tokens"] = sequences.numel()
    speed = sittings[-1]["tokens"] / sittings[-1]["seconds"] if sittings else FIRST_TOKENS_PER_S
    steps = max(1, round(minutes * 60 * speed / (LENGTH * SETTINGS["batch_size"])))
    with energy.measure(f"sitting {len(sittings) + 1}", country=COUNTRY) as meter:
        history = pretraining.pretrain(
            model,
            sequences,
            tokenizer,
            steps=steps,
            warmup_steps=0 if sittings else min(WARMUP_STEPS, steps),
            decay_steps=steps // 2 if final else 0,
            seed=len(sittings),
            optimizer=optimizer,
            **SETTINGS,
        )
    score = pretraining.evaluate_masked(model, pretraining.pack(held_out, tokenizer, LENGTH), tokenizer)
    print(f"sitting {len(sittings) + 1}: {len(history.loss)} steps, {score}, {meter.result}", flush=True)
    sittings.append(
        {"steps": len(history.loss), "tokens": history.tokens, "seconds": history.seconds}
        | {"threads": torch.get_num_threads()}
        | {"held_out_loss": score.loss, "top1": score.top1, "top5": score.top5}
        | {"loss": curve(history.loss), "cost": meter.result.to_dict()}
    )
    receipt["final"] = final and history.stopped == "end"
    save(model, tokenizer, history.optimizer, receipt)


def curve(losses: list[float]) -> list[float]:
    """Mean loss of each run of steps, enough to draw."""
    parts = [losses[start : start + CURVE_STEPS] for start in range(0, len(losses), CURVE_STEPS)]
    return [round(math.fsum(part) / len(part), 4) for part in parts]


def new_receipt() -> dict:
    header = recording.header(
        what="pretraining of pocket-bert, sitting by sitting",
        made_by="python -m benchmarks.pocket_bert",
        packages=("torch", "transformers", "tokenizers", "codecarbon"),
        files=("corpus/train.txt.bz2", "corpus/held_out.txt.bz2"),
    )
    settings = {**SETTINGS, "warmup_steps": WARMUP_STEPS, "length": LENGTH, "curve_steps": CURVE_STEPS}
    return header | {"settings": settings, "final": False, "sittings": []}


def save(model, tokenizer, optimizer, receipt) -> None:
    """Write the whole state beside its place, then put it there: an interrupt leaves the old one."""
    new = WORK.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    model.save_pretrained(new)
    tokenizer.save_pretrained(new)
    if optimizer is not None:
        torch.save(optimizer.state_dict(), new / "optimizer.pt")
    recording.save(new / "receipt.json", receipt)
    shutil.rmtree(WORK, ignore_errors=True)
    new.rename(WORK)


def export() -> None:
    """Copy the finished model into the repository, with its card and without its optimizer."""
    receipt = json.loads((WORK / "receipt.json").read_text())
    if not receipt["final"]:
        raise SystemExit("The run is not finished: make a last sitting with --final first.")
    costs = [sitting["cost"] for sitting in receipt["sittings"]]
    tokens = sum(sitting["tokens"] for sitting in receipt["sittings"])
    figures = {
        "minutes": f"{sum(cost['wall_s'] for cost in costs) / 60:.0f}",
        "tokens": f"{tokens / 1e6:.0f}",
        "passes": f"{tokens / receipt['corpus_tokens']:.1f}",
        "energy_wh": f"{sum(cost['energy_wh'] for cost in costs):.1f}",
        "co2e_g": f"{sum(cost['co2e_g'] for cost in costs):.1f}",
        "method": costs[0]["method"],
        "intensity": costs[0]["intensity_source"],
        "hardware": receipt["hardware"],
        "loss": f"{receipt['sittings'][-1]['held_out_loss']:.2f}",
        "top1": f"{receipt['sittings'][-1]['top1']:.0%}",
        "top5": f"{receipt['sittings'][-1]['top5']:.0%}",
        "date": receipt["date"],
        "sittings": len(costs),
        "single": sum(sitting.get("threads") == 1 for sitting in receipt["sittings"]),
        "foreign": f"{max(cost['foreign_load'] for cost in costs):.0%}",
    }
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "receipt.json",
    ):
        shutil.copyfile(WORK / name, TARGET / name)
    (TARGET / "README.md").write_text(CARD.read_text().format_map(figures))
    print(f"{TARGET} is written. List its sums: python data/make.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to train (default: 5)")
    parser.add_argument(
        "--final", action="store_true", help="let the learning rate fall to 0, as the last sitting must"
    )
    parser.add_argument("--export", action="store_true", help="write data/models/pocket-bert, train nothing")
    chosen = parser.parse_args()
    if chosen.export:
        export()
    else:
        sit(chosen.minutes, chosen.final)


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    transformers.utils.logging.disable_progress_bar()
    os.environ["COURSE_STATIC"] = "1"
    main()
