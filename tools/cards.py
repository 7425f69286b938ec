"""Flash cards: the glossary's words and the quizzes' questions as a package for Anki."""

import html
import json
import re
from pathlib import Path

from tools import links, notebooks
from tools.notebooks import NOTEBOOKS, ROOT

QUIZZES = ROOT / "exercises" / "quiz"
WORD = re.compile(r"(?m)^- \*\*(.+?)\*\*: (.+) \(\[(.+)\]\(.+/\d\d_(\w+)\.ipynb\)\)$")


def build(output: Path = ROOT / "build" / "watt_it_takes.apkg") -> None:
    """Write the package; imported again, each card takes its own place."""
    import genanki  # which only this needs

    deck = genanki.Deck(1_792_060_817, "Watt It Takes")
    for *sides, topic in _cards():
        guid = genanki.guid_for("watt-it-takes", sides[0].partition("<ol")[0])  # of a word, or a question
        sides = [re.sub("`(.+?)`", r"<code>\1</code>", side) for side in sides]
        sides = [re.sub(r"\$(.+?)\$", r"\\(\1\\)", side) for side in sides]
        deck.add_note(genanki.Note(genanki.BASIC_MODEL, sides, tags=[topic], guid=guid))
    changed = max(path.stat().st_mtime for path in (*NOTEBOOKS.iterdir(), *QUIZZES.iterdir()))
    output.parent.mkdir(parents=True, exist_ok=True)
    genanki.Package(deck).write_to_file(output, timestamp=changed)  # Anki takes what is newer
    print(f"{output}: {len(deck.notes)} cards")


def _cards():
    for word, meaning, title, topic in WORD.findall(html.escape(links.glossary(NOTEBOOKS), quote=False)):
        yield word, f"{meaning}<br><i>{title}</i>", topic
    for topic in notebooks.course():
        for each in json.loads(html.escape((QUIZZES / f"{topic}.json").read_text("utf-8"), quote=False)):
            choices = "".join(f"<li>{choice['answer']}</li>" for choice in each["answers"])
            [right] = [choice for choice in each["answers"] if choice["correct"]]
            front = f'{each["question"]}<ol type="A" style="text-align: left">{choices}</ol>'
            yield front, f"<b>{right['answer']}</b><br>{right['feedback']}", topic
