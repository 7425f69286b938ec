"""What the course prints of the world outside stands in data/facts.csv, and whom it cites, in references.bib.

Looked at is a sentence that cites a source, names what a fact is about, or has a unit that is never
ours, such as MWh. Its figures, rounded or not, stand in rows of the sources that it cites, or in any row if
it cites none. Figures in words aren't seen, nor one that was exchanged for another of the same source.
"""

import json
import re

import pytest

from helpers import facts
from tools.notebooks import ROOT

FACTS, BIB = facts.load().values(), (ROOT / "references.bib").read_text(encoding="utf-8")
SOURCES = re.findall(r"^@\w+\{(\w+), (?:author|editor) = \{+([^,}]+).*\byear = \{(\d+)\}", BIB, re.MULTILINE)
SCALES = {"": 1, "%": 0.01, "million": 1e6, "billion": 1e9, "trillion": 1e12}
UNITS = {"": 0, "Wh": 1, "kWh": 1e3, "MWh": 1e6, "GWh": 1e9, "TWh": 1e12, "J": 1 / 3_600}
UNITS |= {"g": 1j, "kg": 1e3j, "t": 1e6j, "tonnes": 1e6j}  # imaginary, so that no carbon equals an energy
FIGURE = re.compile(
    r"(?<![\w.,/^-])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?![\w-]|[.,]\d)"
    rf"(?: ?({'|'.join([*SCALES][1:])})(?!\w))?(?: ({'|'.join([*UNITS][1:])})(?![\w-]))?"
)
NAMES = {fact.what.split(":")[0].split()[0] for fact in FACTS if ":" in fact.what} - {"BERT"}
NAMES = "|".join(["PUE", "[Dd]ata centers", *(name for name in NAMES if name[0].isupper())])
OUTSIDE = re.compile(rf"\d (?:[kMGT]Wh|kg|t|tonnes|[mbtr]+illion)\b|(?<![\w-])(?:{NAMES})(?![\w-])")
NOISE = r"```.*?```|`[^`\n]*`|\$[^$\n]+\$|\]\([^)]*\)|\{[^{}\n]*\}|(?:\*\*|## )References.*|(?<=et al)\."
MODELS = ("Llama", "OLMo", "Olmo", "PaLM", "Exercise", "wav2vec")  # the number after it is part of the name
NUMBERED = "|".join(rf"(?<={name} )\d+(?:\.\d+)?" for name in MODELS)
OURS = r"(?:22\.7|3\.7) million weights|3\.6 million|(?<!\d)7 billion|above [\d,]+ [kMG]Wh"
TEXTS = ("notebooks/*.ipynb", "extras/*/*.ipynb", "teaching/*.md", "README.md")
TEXTS += ("exercises/*.py", "exercises/*/*.json", "exercises/*/*.md")
TEXTS = sorted(path for pattern in TEXTS for path in ROOT.glob(pattern))


def sentences(text):
    text = re.sub(f"{NOISE}|{NUMBERED}|{OURS}", " ", text, flags=re.DOTALL)
    return re.split(r"(?<=[.:?!])\s+|;\s+(?![^()]*\))|\n", text)


def figures(text):
    """Each figure as it is printed, its number, the last digit's half, and its unit in Wh or g."""
    for match in FIGURE.finditer(text):
        whole, point, scale, unit = match.groups(default="")
        if not re.fullmatch(r"(?:1[89]|20)\d\d", match.group()):  # a year
            number, slack = float(whole.replace(",", "") + point), 0.501 * 10.0 ** -len(point[1:])
            yield match.group(), number * SCALES[scale], slack * SCALES[scale], UNITS[unit]


KNOWN = [
    (fact.source, known, its)
    for fact in FACTS
    for _, known, _, its in figures(f"{fact.value:.15g} {fact.unit}; {fact.what}; {fact.caveat}; {fact.unit}")
]


def cited(sentence):
    some = [source for source in SOURCES if source[2] in sentence]
    return {key for key, name, year in some if re.search(rf"\b{name}\b[^;:]{{0,60}}?\b{year}\b", sentence)}


def unknown(text):
    for sentence in sentences(text):
        if (keys := cited(sentence)) or OUTSIDE.search(sentence):
            known = [(number, unit) for source, number, unit in KNOWN if not keys or source in keys]
            for shown, number, slack, unit in figures(sentence):
                same = [other * its / unit if unit else other for other, its in known if its or not unit]
                yield from [shown] if all(abs(number - other) > slack for other in same) else []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_what_it_prints_of_others_is_known(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    assert list(unknown(text)) == []
    citations = [each for each in sentences(text) if re.search(r"[a-z],? +\(?(?:1[89]|20)\d\d\)", each)]
    assert [each for each in citations if not cited(each)] == []
    entries = re.sub(r"[{}\\]", "", BIB).lower().splitlines()
    for year, title in re.findall(r"\((\d{4})\)[,.] \*([^*]+?)\.?\*", text):
        assert any(f"year = {year}" in entry and title.lower() in entry for entry in entries), title


def test_a_figure_that_drifted_is_found():
    text = "It took BLOOM 434 MWh. It emitted 24.7 t (Strubell et al., 2019). A PUE of 1.53 is the mean."
    assert list(unknown(text)) == ["434 MWh", "24.7 t", "1.53"]  # the second is true of another source
