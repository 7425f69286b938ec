"""The shipped data is what the data card says, and bad data gets a clear refusal."""

import re

import numpy as np
import pandas
import pytest
import torch

from helpers import assets, data, environment
from tests.shared import python


@pytest.fixture(scope="module")
def some(tokenizer):
    return data.tokenize(data.load_reviews("validation").select(range(203)), tokenizer)


def test_every_file_has_its_sum_and_the_script_makes_the_same_bytes():
    found = environment.check_data()
    assert found.ok, found
    done = python(assets.DATA / "make.py", "--check")
    unreachable = "No matching distribution|Connection|expected apt-get|Unable to|Failed to fetch"
    if done.returncode and re.search(unreachable, done.stderr):
        pytest.skip("a package index cannot be reached, so the sources cannot be fetched")
    assert "the same bytes" in done.stdout and done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("split", data.REVIEWS + data.DOMAINS)
def test_labels_follow_the_ratings(split, capsys, tokenizer):
    table = data.load_reviews(split).to_pandas()
    file = pandas.read_csv(assets.DATA / "reviews" / f"{split}.csv", keep_default_na=False)
    data.tokenize(data.load_reviews(split), tokenizer)  # of products some are cut, as is known
    assert table["text"].equals(file["text"]) and capsys.readouterr() == ("", "")  # in the file's order
    assert set(table["label"]) == {0, 1} and (table["label"] == (table["rating"] > 0)).all()
    assert table["rating"].abs().between(0.5, 4).all() and table["text"].str.strip().ne("").all()


def test_no_sentence_stands_in_two_splits_and_the_first_rows_are_a_fair_sample():
    texts = [text.lower() for split in data.REVIEWS for text in data.load_reviews(split)["text"][:]]
    assert len(texts) == len(set(texts)) == 7_070 + 1_000 + 2_000
    assert 0.45 < np.mean(data.load_reviews("train")["label"][:1_000]) < 0.55


def test_digits_and_a_split_that_there_is_not():
    for split, rows in (("train", 6_000), ("test", 2_000)):
        digits = data.load_digits(split)[:]
        assert digits["image"].shape == (rows, 784)
        assert digits["image"].min() >= 0 and digits["image"].max() == 255
        assert torch.bincount(digits["label"]).tolist() == [rows // 10] * 10
    with pytest.raises(data.DataError, match="no split 'validation' of the digits: expected 'train' or 'te"):
        data.load_digits("validation")
    with pytest.raises(data.DataError, match="no split 'tests': expected one of train, validation, test"):
        data.load_reviews("tests")


def read(folder, content):
    (folder / "mine.csv").write_text(content, encoding="utf-8")
    return data.read_sentences(folder / "mine.csv")


HEAD = "text,label\n"


def test_bad_csv(tmp_path):
    for content, message in (
        ("text,rating\ngood,1\n", r"has no column label, only text, rating\. Expected the columns text and"),
        (HEAD + 'good,1\n" ",0\n', "has no text in line 3: write one, or delete the line"),
        (HEAD + "good,1\nbad,2\n", r"has the label .*2.* in line 3: expected 0 \(negative\) or 1"),
        (HEAD + "good,good\n", "has the label 'good' in line 2: expected 0 .* or one of negative, neg, no"),
        (HEAD + "good,\n", "has the label '' in line 2"),
        (HEAD + '"so\nso",1\nbad,-1\n', "has the label '-1' in line 4: .* true\\.$"),
        (HEAD + "bad,1\ngood,4.0\n", r"has the label '4\.0' in line 3: .* Of stars, make 4 and 5 a 1, make"),
        (HEAD + "good,%s\n" % ("9" * 6_000), r"has the label '9{57}\.\.\.' in line 2"),
        (HEAD + "good,1\n\nfine,yes\n", "has positive labels alone, from line 2 to line 4: expected neg"),
        ("text^label\ngood^1\n", r"has no column text and label, only text\^label\. Expected the columns"),
    ):
        with pytest.raises(data.DataError, match=message):
            read(tmp_path, content)


def test_labels_as_people_write_them_and_texts_that_are_cut(tmp_path, capsys, tokenizer):
    for negative, positive, read_as in (
        ("0.0", " 1 ", ""),
        ("0,0", "1,0", ""),
        ("negative", "Positive", ", label negative read as 0, label positive read as 1"),
        ("NEG", "pos ", ", label neg read as 0, label pos read as 1"),
        ("No", "1", ", label no read as 0"),
        ("False", "True", ", label false read as 0, label true read as 1"),
    ):
        mine = read(tmp_path, f'\ufeffLABEL; Text ;n\n{negative};"so\nso";01\n{positive};good;\n')
        assert mine[:] == {"label": [0, 1], "text": ["so\nso", "good"], "n": ["01", ""]}
        said = f"mine.csv: 2 rows, separator semicolon, 1 row over several lines (line 2){read_as}.\n"
        assert capsys.readouterr() == ("", said)
    mine = read(tmp_path, HEAD + '"good, very",1\nNA,0\n')
    assert mine[:] == {"text": ["good, very", "NA"], "label": [1, 0]}
    texts = "".join(f"{'word ' * words},{words % 2}\n" for words in (5_000, 127, 126, 5))  # two tokens more
    data.tokenize(read(tmp_path, HEAD + texts), tokenizer)
    assert capsys.readouterr().err == "2 of 4 texts have more than 128 tokens: the rest was cut off.\n"


def test_rows_sorted_by_label_are_shuffled_the_same_way_each_time(tmp_path, capsys):
    in_order = [0, 0, 1, 1], [1] * 300 + [0] * 20, ([0] * 25 + [1] * 25) * 3
    for labels in (*in_order, [1, 0], [0, 0, 1], [0, 1, 1, 0, 0], [0, 1] * 50):
        content = HEAD + "".join(f"{row} {label},{label}\n" for row, label in enumerate(labels))
        mine, again = (read(tmp_path, content)[:] for _ in range(2))
        rows = [tuple(map(int, text.split())) for text in mine["text"]]
        assert mine == again and [label for _, label in rows] == mine["label"]
        assert sorted(rows) == list(enumerate(labels)) and (rows != sorted(rows)) == (labels in in_order)
        assert set(mine["label"][: len(labels) // 2]) == ({0, 1} if len(labels) > 3 else set(labels[:1]))
        said = f"mine.csv: {len(labels)} rows, shuffled, as the file is sorted by label.\n"
        assert capsys.readouterr() == ("", said * 2 * (labels in in_order))


def test_numbers_of_rows_out_of_range_are_refused(some, tokenizer):
    with pytest.raises(data.DataError, match=r"train_rows is 204: expected a whole number from 1 to 203"):
        data.take(some, 204)
    with pytest.raises(data.DataError, match=r"batch_size is 0: expected a whole number from 1"):
        data.batches(some, tokenizer, 0, shuffle=True)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 32, 500])
def test_batches_hold_every_row_once(some, tokenizer, batch_size, shuffle):
    seen = []
    for batch in data.batches(some, tokenizer, batch_size, shuffle=shuffle):
        rows = some[batch["index"].tolist()]
        padded = tokenizer.pad({"input_ids": rows["input_ids"]}, return_tensors="pt")
        assert all(torch.equal(batch[name], padded[name]) for name in ("input_ids", "attention_mask"))
        assert batch["labels"].tolist() == rows["label"]
        seen += batch["index"].tolist()
    assert sorted(seen) == list(range(len(some)))


def test_length_bucketing_leaves_little_padding_and_the_seed_decides_the_order(some, tokenizer):
    rows = data.tokenize(data.load_reviews("validation"), tokenizer)
    size = sum(batch["input_ids"].numel() for batch in data.batches(rows, tokenizer, 32, shuffle=True))
    lengths = torch.tensor(rows["length"][:])
    size_at_random = sum(part.max() * len(part) for part in lengths.split(32))
    assert 1 - lengths.sum() / size < (1 - lengths.sum() / size_at_random) / 2
    loaders = (data.batches(some, tokenizer, 32, shuffle=True, seed=seed) for seed in (1, 1, 2))
    first, again, other = ([batch["index"].tolist() for batch in loader] for loader in loaders)
    assert first == again != other
