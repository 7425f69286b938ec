"""All Python passes ruff; only a notebook's file name, links to it and the changelog carry its number."""

import re
import subprocess

import pytest

from tests.shared import python
from tools import links, notebooks
from tools.notebooks import ROOT

NUMBERED = re.compile(
    r"\bnotebooks? \d\d?\b"  # in a sentence
    r"|\[\d\d\]\("  # as a link's text
    r"|\b(?:0\d|1[0-4])'s\b|\bnb\d\d_|\bnotebook_\d\d"  # of its own things, in a name
    r"|^\s*\"?# \d\d\b",  # in a title
    re.IGNORECASE | re.MULTILINE,
)
FILE_NAME = re.compile(rf"\b\d\d_(?:{'|'.join(notebooks.course())})\b")
TEXT = (".py", ".md", ".ipynb", ".toml", ".json", ".yml", ".yaml", ".cff", ".txt", "Makefile", ".slurm")
OTHERS = ("CHANGELOG.md", "data/facts.csv", "data/receipts/", "data/corpus/", "tests/course/test_style.py")


def test_no_text_carries_a_notebooks_number():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    kept_right, found = {path for pattern in links.TEXTS for path in ROOT.glob(pattern)}, {}
    for name in listed.stdout.split("\0"):
        if (ROOT / name).is_file() and name.endswith(TEXT) and not name.startswith(OTHERS):
            text = (ROOT / name).read_text(encoding="utf-8")
            hits = NUMBERED.findall(text) + (FILE_NAME.findall(text) if ROOT / name not in kept_right else [])
            found |= {name: hits} if hits else {}
    assert found == {}


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_finds_nothing(command):
    done = python("-m", "ruff", *command, "--no-cache", ".")
    assert done.returncode == 0, done.stdout + done.stderr
