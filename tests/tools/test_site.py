"""The site, built from the stored notebooks and clicked through in a real browser."""

import functools
import http.server
import json
import math
import re
import threading
from urllib.parse import unquote, urljoin, urlsplit

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from helpers import assets, costs, facts
from tests.notebooks.test_browser import CHROMIUM, FLAGS
from tools import notebooks, site

pytestmark = [pytest.mark.slow, pytest.mark.browser]
PHONE = {"width": 390, "height": 844}
SEARCHES = {"what does a token cost": "What a token costs", "how do I measure my training": "Measure energy"}
KINDS = ("index", "facts", "receipts", "calculators", "docs/glossary", "teaching/README", "search")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site's folder, and its pages by their path in it."""
    folder = tmp_path_factory.mktemp("site") / "out"
    site.build(folder)
    paths = sorted(path for path in folder.rglob("*.html") if "_static" not in path.parts)
    return folder, {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def test_every_page_is_there_small_and_leads_nowhere_dead(built):
    folder, pages = built
    assert {f"notebooks/{path.stem}.html" for path in notebooks.course().values()} < pages.keys()
    assert {"facts.html", "receipts.html", "docs/glossary.html", "teaching/README.html"} < pages.keys()
    recorded = [*(assets.DATA / "receipts").glob("*.json")]
    assert pages["receipts.html"].count("and every figure came out as recorded") == len(recorded)
    assert all(f'href="_static/receipts/{path.name}"' in pages["receipts.html"] for path in recorded)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 25e6
    anchors = {name: set(re.findall(r' id="([^"]+)"', text)) for name, text in pages.items()}
    for name, text in pages.items():
        assert len(text) < 2e6, name
        text = re.sub(r"<script\b.*?</script>", "", text, flags=re.DOTALL)
        for target in re.findall(r'(?:href|src)="([^"]+)"', text):
            parts = urlsplit(urljoin(f"https://site/{name}", target))
            if parts.netloc == "site" and parts.scheme == "https":
                path = unquote(parts.path).lstrip("/") or "index.html"
                assert (folder / path).is_file(), f"{name}: {target}"
                assert not parts.fragment or parts.fragment in anchors.get(path, {parts.fragment}), target


@pytest.fixture
def served(built):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=built[0])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium or Chrome on this machine; install one")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


def calculated(page, kind, **given):
    """The numbers that a calculator shows for what is entered."""
    for name, value in given.items():
        page.fill(f"#{kind}-{name}", str(value))
    shown = page.locator(f"form[data-kind={kind}] output").inner_text()
    return [float(each.replace(",", "")) for each in re.findall(r"(?<![A-Z\d,.])\d[\d,.]*", shown)]


def test_pages_ask_nothing_of_the_web_and_show_formulas_folds_and_what_pictures_say(built, served, browser):
    pages, page, asked, wrong = built[1], browser.new_page(viewport=PHONE), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    for name in pages:
        page.goto(served + name)
        assert page.evaluate("[...document.images].filter(i => !i.alt && !i.ariaHidden).length") == 0, name
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, f"{name} scrolls sideways"
    page.goto(f"{served}notebooks/{notebooks.course()['losses'].stem}.html")
    page.locator("mjx-container").first.wait_for()
    assert page.locator("details.hide:not([open])").count() > 5  # set-up, drawings, solutions
    page.goto(served + "facts.html")
    page.get_by_role("button", name="year").press("Enter")
    years = page.locator("table.sortable tbody td:nth-child(6)").all_inner_texts()
    assert years == sorted(years) and len(years) > 50
    page.goto(served + "calculators.html")
    peak, watts = (facts.load()[f"a100_{name}"].value for name in ("peak", "power"))
    run = costs.footprint(70e9, 15_000e9, peak_flop_per_s=peak, power_w=watts, mfu=0.4, pue=1.1)
    found = calculated(page, "footprint", weights=70, tokens=15_000, share=0.4, pue=1.1)[:3]
    assert found == pytest.approx((run.energy_kwh / 1e3, run.device_hours, run.co2e_kg / 1e3), rel=1e-3)
    config = json.loads((assets.MODELS / assets.WRITER.name / "config.json").read_text())
    shape = {"layers": config["num_hidden_layers"], "heads": config["num_key_value_heads"]}
    shape["size"] = config["hidden_size"] // config["num_attention_heads"]
    assert {name: int(page.locator(f"#cache-{name}").input_value()) for name in shape} == shape
    assert calculated(page, "cache", tokens=1_000, texts=1, bytes=4)[0] == math.prod(shape.values()) * 8e-3
    rows = pd.read_csv(assets.DATA / "gpu_serving.csv").query("task == 'chat' and token_gap_ms <= 30")
    rows = rows[rows["model"] == page.locator("#settings-model").input_value()]
    assert calculated(page, "settings", gap=30)[0] == pytest.approx(rows["j_per_token"].min(), rel=1e-3)
    for question, title in SEARCHES.items():
        page.goto(f"{served}search.html?q={question.replace(' ', '+')}")
        assert page.locator("ul.search a").first.inner_text() == title
    assert [address for address in asked if not address.startswith((served, "data:"))] == []
    assert wrong == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_kind_of_page_is_for_keyboard_screen_reader_and_paper(served, browser, theme):
    page = browser.new_page(viewport=PHONE, color_scheme=theme)
    losses = f"notebooks/{notebooks.course()['losses'].stem}"
    for name in (*KINDS, losses):
        page.goto(f"{served}{name}.html")
        if name == losses:
            page.emulate_media(media="print")
            assert page.locator(".bd-sidebar-primary, button, .hide").filter(visible=True).count() == 0
            page.emulate_media(media="screen")
            while not page.locator("summary:focus").count():
                page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            assert page.locator("details.hide[open]").count() == 1
            page.locator(".MCButton input").first.press("Space")
            assert page.locator(".Feedback[aria-live]").first.inner_text()
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished))")
        found = Axe().run(page).response["violations"]
        assert [each["nodes"] for each in found if each["impact"] in ("serious", "critical")] == [], name
