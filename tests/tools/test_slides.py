"""Slides and flash cards, from the stored notebooks: in a real browser, and as Anki reads them."""

import sqlite3
import zipfile
from xml.etree import ElementTree

import pytest
from playwright.sync_api import sync_playwright

from tests.notebooks.test_browser import CHROMIUM, FLAGS, pytestmark  # noqa: F401
from tools import RunError, cards, slides

FAR = """[...Reveal.getCurrentSlide().querySelectorAll(":not(aside, aside *)")].filter(each => {
  const box = each.getBoundingClientRect(), wide = each.scrollWidth - (each.clientWidth || Infinity) > 1;
  return wide || box.right > 1280 || box.bottom > 720 || each.alt === "" || each.naturalWidth === 0 })"""


def test_decks_show_what_they_name_ask_nothing_of_the_web_and_fit_their_slides(tmp_path):
    with pytest.raises(RunError, match=r"losses\.ipynb has for this id: nothing"):
        slides.filled("![figure](losses#nowhere)")
    slides.build(tmp_path)
    with sync_playwright() as playwright:  # a page has 1280 x 720
        page, seen = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS).new_page(), []
        for event in ("request", "console", "pageerror"):
            page.on(event, lambda each: seen.append(getattr(each, "url", str(each))))
        for deck in tmp_path.glob("*.html"):
            page.goto(deck.as_uri())
            page.wait_for_function("Reveal.isReady()")
            for place in range(page.evaluate("Reveal.getSlides().length")):
                assert page.evaluate(f"Reveal.slide({place}), {FAR}.length") == 0, f"{deck.name}: {place + 1}"
            assert place > 25 and all(each.startswith(("file:", "data:")) for each in seen), seen


def test_each_word_and_question_is_one_card_that_stays_itself(tmp_path):
    database, built = sqlite3.connect(":memory:"), []
    for name in ("one", "again"):
        cards.build(tmp_path / name)
        database.deserialize(zipfile.ZipFile(tmp_path / name).read("collection.anki2"))
        built.append(database.execute("SELECT guid, flds, mod FROM notes").fetchall())
    files = cards.ROOT / "docs/glossary.md", *cards.QUIZZES.iterdir()
    count = sum(path.read_text("utf-8").count(mark) for path in files for mark in ("\n- **", '"question":'))
    assert built[0] == built[1] and len(built[0]) == len({guid for guid, *_ in built[0]}) == count
    text = "<br>".join(fields.replace("\x1f", "") for _, fields, _ in built[0])
    ElementTree.fromstring(f"<p>{text}</p>".replace("<br>", "<br/>"))  # each tag is closed
    assert r"\(n\)" in text and "<code>" in text and not {*"$`"} & {*text}
