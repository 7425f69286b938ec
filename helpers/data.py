"""Reviews, digits and corpus as `datasets.Dataset`, and batches in which little is padding."""

from __future__ import annotations

import bz2
import itertools
import math
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.assets import DATA
from helpers.tables import listed, read_table, shown
from helpers.values import require_range

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from torch.utils.data import DataLoader
    from transformers import PreTrainedTokenizerBase

REVIEWS = ("train", "validation", "test")
DOMAINS = ("tweets", "products", "editorials")  # for testing only: other writers, other topics
OURS = "ships with the course"  # `tokenize` says what it cuts of other texts only
COLUMNS, LABELS = ("text", "label"), ("negative", "positive")
WORDS = {"negative": 0, "neg": 0, "no": 0, "false": 0, "positive": 1, "pos": 1, "yes": 1, "true": 1}


class DataError(ValueError):
    """Data that cannot be used; the message says where, what was expected, and what to do."""


def load_reviews(split: str) -> Dataset:
    """Sentences: "train", "validation" or "test" of film reviews; or "tweets", "products" or "editorials".

    Columns: `id`, `text` (str), `rating` (float, -4 to 4, mean of 15+), `label` (0 negative, 1 positive).
    """
    from datasets import Value

    if split not in REVIEWS + DOMAINS:
        raise DataError(f"There is no split {split!r}: expected one of {', '.join(REVIEWS + DOMAINS)}.")
    rows = read_sentences(DATA / "reviews" / f"{split}.csv").cast_column("rating", Value("float64"))
    rows.info.description = OURS
    return rows


def read_sentences(path: str | Path) -> Dataset:
    """A CSV file of your own sentences: a column `text`, and a column `label` of 0 and 1 or words for them.

    Other columns stay as they are written (str). Rows that are sorted by label, or nearly, are shuffled, as
    `take` takes the first. What was recognized or changed is printed in a line. A missing or damaged file, a
    missing column, an empty text, a label neither 0 nor 1, or one label alone raises `DataError`.
    """
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()  # nothing here takes longer than reading one would
    path, table = Path(path), read_table(path, DataError)
    columns: dict = {n.lower() if n.lower() in COLUMNS else n: rows for n, rows in table.columns.items()}
    if missing := [column for column in COLUMNS if column not in columns]:
        found = f"no column {' and '.join(missing)}, only {listed(table.columns)}"
        expected = f"Expected the columns {' and '.join(COLUMNS)}: rename them in its first line."
        raise DataError(f"{path.name} has {found}. {expected}")
    for line, text in zip(table.lines, columns["text"], strict=True):
        if not text.strip():
            raise DataError(f"{path.name} has no text in line {line}: write one, or delete the line.")
    labels = [_label(*row, path.name) for row in zip(columns["label"], table.lines, strict=True)]
    if len(set(labels)) == 1:
        found = f"{LABELS[labels[0]]} labels alone, from line {table.lines[0]} to line {table.lines[-1]}"
        expected = f"expected {' and '.join(LABELS)} ones. Add rows of the other kind."
        raise DataError(f"{path.name} has {found}: {expected}")
    words = dict.fromkeys(map(str.lower, map(str.strip, columns["label"])))
    notes = table.notes + [f"label {word} read as {WORDS[word]}" for word in words if word in WORDS]
    order, draw = list(range(len(labels))), random.Random(0)
    while _sorted([labels[row] for row in order]):
        draw.shuffle(order)
    if order != sorted(order):
        notes.append("shuffled, as the file is sorted by label")
    if notes:  # on stderr: a letter that the screen lacks is no error there
        print(f"{path.name}: {len(labels):,} rows, {', '.join(notes)}.", file=sys.stderr)
    columns |= {"label": labels}
    return Dataset.from_dict({name: [rows[place] for place in order] for name, rows in columns.items()})


def _label(written: str, line: int, name: str) -> int:
    """The class that a label stands for: 0 or 1, also as 0.0, as 1,0 or as a word."""
    word = written.strip().lower()
    try:
        number = float(word.replace(",", "."))
    except ValueError:
        number = WORDS.get(word, math.nan)
    if number in (0, 1):
        return int(number)
    stars = " Of stars, make 4 and 5 a 1, make 1 and 2 a 0, and leave out 3." if 1 < number <= 5 else ""
    expected = f"expected 0 (negative) or 1 (positive), or one of {', '.join(WORDS)}.{stars}"
    raise DataError(f"{name} has the label {shown(written)} in line {line}: {expected}")


def _sorted(labels: Sequence[int]) -> bool:
    """Whether labels change only once, or a quarter as often as in random order; each has several rows."""
    changes = sum(one != other for one, other in itertools.pairwise(labels))
    ones, zeros = labels.count(1), labels.count(0)
    at_random = 2 * ones * zeros / len(labels)
    return min(ones, zeros) > 1 and changes <= max(1, at_random / 4)


def load_digits(split: str) -> Dataset:
    """Handwritten digits: 6,000 to "train" and 2,000 to "test", each class equally often.

    As torch tensors: `image` (784 uint8 values, 28 rows of 28, 0 is background) and `label` (0 to 9).
    """
    import numpy as np
    from datasets import Dataset, Features, List, Value

    path = DATA / "digits" / f"{split}.npz"
    if not path.is_file():
        raise DataError(f"There is no split {split!r} of the digits: expected 'train' or 'test'.")
    with np.load(path) as file:
        columns = {"image": list(file["image"]), "label": file["label"].astype(np.int64)}
    features = Features({"image": List(Value("uint8"), length=784), "label": Value("int64")})
    return Dataset.from_dict(columns, features=features).with_format("torch")


def load_corpus(split: str) -> Dataset:
    """Text without labels, for pretraining: "train", about 3 million words, or "held_out".

    No sentence of the one is in the other. The columns are `source` ("wordnet", "factbook", "austen",
    "wikipedia" or "reviews", in this order) and `text` (str, one paragraph, sentence or dictionary entry).
    """
    from datasets import Dataset

    path = DATA / "corpus" / f"{split}.txt.bz2"
    if not path.is_file():
        raise DataError(f"There is no split {split!r} of the corpus: expected 'train' or 'held_out'.")
    lines = bz2.decompress(path.read_bytes()).decode().splitlines()
    source, text = zip(*(line.split("\t", 1) for line in lines), strict=True)
    return Dataset.from_dict({"source": source, "text": text})


def take(dataset: Dataset, rows: int, name: str = "train_rows") -> Dataset:
    """The first `rows` rows. The training split is in random order, so they are a fair sample of it."""
    require_range(name, rows, 1, len(dataset), whole=True, error=DataError)
    return dataset.select(range(rows))


def tokenize(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int = 128) -> Dataset:
    """Add `input_ids` and `length` in tokens; not padded, cut at `max_length` or at what the model reads."""
    texts, longest = dataset["text"][:], min(max_length, tokenizer.model_max_length)
    ids = tokenizer(texts, truncation=True, max_length=longest, padding=False)["input_ids"]
    full = [text for text, row in zip(texts, ids, strict=True) if len(row) == longest]
    whole = tokenizer(full, verbose=False)["input_ids"] if full and dataset.info.description != OURS else []
    if cut := sum(len(row) > longest for row in whole):
        found = f"{cut:,} of {len(ids):,} texts have more than {longest:,} tokens"
        print(f"{found}: the rest was cut off.", file=sys.stderr)
    rest = dataset.remove_columns([name for name in ("input_ids", "length") if name in dataset.column_names])
    return rest.add_column("input_ids", ids).add_column("length", [len(row) for row in ids])


def pad(rows: Sequence[torch.Tensor], padding: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """One batch of token ids (int64 each): `input_ids` and `attention_mask` (int64, rows x longest).

    Examples
    --------
    >>> import torch
    >>> pad([torch.tensor([2, 7, 3]), torch.tensor([2, 3])])[1].tolist()
    [[1, 1, 1], [1, 1, 0]]
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return pad_sequence(list(rows), batch_first=True, padding_value=padding), mask


def batches(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int, *, shuffle: bool, seed: int = 0
) -> DataLoader:
    """Batches by length bucketing: rows of similar length, padded to the longest of their batch.

    A batch has `input_ids` and `attention_mask` (int64, batch x longest), `labels` (int64, batch) and `index`
    (int64, batch: the row in `dataset`, which is from `tokenize` and has a column `label`). With `shuffle`,
    for training, they are buckets of random rows in a random order, which `seed` decides and each pass draws
    anew. Without, for evaluation, all rows are sorted by length, the longest first.
    """
    import torch
    from torch.utils.data import BatchSampler, DataLoader
    from transformers.trainer_pt_utils import LengthGroupedSampler

    class ShuffledBatches(BatchSampler):
        """The sampler's batches in random order, but for the first: it holds the longest row of all."""

        def __iter__(self) -> Iterator[list[int]]:
            first, *others = super().__iter__()
            yield first  # memory grows least when the largest comes first
            for place in torch.randperm(len(others), generator=generator):
                yield others[place]

    require_range("batch_size", batch_size, 1, whole=True, error=DataError)
    ids = [torch.tensor(row) for row in dataset["input_ids"][:]]
    lengths, labels = dataset["length"][:], torch.tensor(dataset["label"][:])

    def collate(rows: list[int]) -> dict[str, torch.Tensor]:
        input_ids, mask = pad([ids[row] for row in rows], tokenizer.pad_token_id)
        index = torch.tensor(rows)
        return {"input_ids": input_ids, "attention_mask": mask, "labels": labels[index], "index": index}

    generator = torch.Generator().manual_seed(seed)
    if shuffle:
        buckets = LengthGroupedSampler(batch_size, lengths=lengths, generator=generator)
        order = ShuffledBatches(buckets, batch_size, drop_last=False)
    else:
        by_length = sorted(range(len(ids)), key=lambda row: -lengths[row])
        order = BatchSampler(by_length, batch_size, drop_last=False)
    # Its own generator: without one, each pass would draw from torch's, and with it change the dropout.
    return DataLoader(range(len(ids)), batch_sampler=order, collate_fn=collate, generator=generator)
