"""The film reviews for a worker, read without Datasets and Transformers: a process has no memory to spare."""

import csv
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader

from helpers import data
from helpers.assets import DATA, POCKET_BERT, resolve_model
from helpers.data import DataError

Sentences = Sequence[tuple[torch.Tensor, int]]


def read(split: str, rows: int, max_length: int = 64) -> Sentences:
    """The first `rows` sentences of a split, ids (int64) and a label each; `DataError` if it has fewer."""
    tokenizer = Tokenizer.from_file(f"{resolve_model(POCKET_BERT)}/tokenizer.json")
    tokenizer.enable_truncation(max_length)
    with (DATA / "reviews" / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        first = [row for row, _ in zip(csv.DictReader(file), range(rows), strict=False)]
    if len(first) < rows:
        raise DataError(f"rows is {rows:,}: expected {len(first):,} at most, as {split}.csv has no more.")
    return [(torch.tensor(tokenizer.encode(row["text"]).ids), int(row["label"])) for row in first]


def pad(sentences: Sentences) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One batch: `input_ids` and `attention_mask` (int64, batch x longest), and labels (int64, batch)."""
    ids, labels = zip(*sentences, strict=True)
    return *data.pad(ids), torch.tensor(labels)


def batches(sentences: Sentences, batch_size: int, seed: int) -> DataLoader:
    """Batches in random order, each padded to its own longest sentence.

    What is left over at an epoch's end makes no batch: several processes would fill it up, each in its way.
    """
    draw = torch.Generator().manual_seed(seed)
    return DataLoader(sentences, batch_size, shuffle=True, collate_fn=pad, generator=draw, drop_last=True)
