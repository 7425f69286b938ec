"""A notebook in a real browser: a slider moves and the picture follows; nothing comes from the web."""

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from jupyter_server.serverapp import list_running_servers
from nbformat import v4, write

from tools.notebooks import KERNEL, ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome on this machine; install one"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CELL = """
import ipywidgets
from helpers import widgets
from tests.helpers.test_widgets import draw
widgets.explore(draw, alt="A line that rises.", height=ipywidgets.FloatSlider(value=2, min=1, max=5, step=1))
"""
QUIZ = f"from helpers.quiz import display_quiz\ndisplay_quiz({str(ROOT / 'exercises/quiz/losses.json')!r})"


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on a free port, in a folder with one notebook; its address with its token."""
    cells = [v4.new_code_cell(CELL), v4.new_markdown_cell("$E = mc^2$"), v4.new_code_cell(QUIZ)]
    write(v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), tmp_path / "widget.ipynb")
    token = secrets.token_hex()
    environment = {key: value for key, value in os.environ.items() if key != "COURSE_STATIC"}
    environment |= {"PYTHONPATH": str(ROOT), "JUPYTER_TOKEN": token}
    for own in ("JUPYTER_RUNTIME", "JUPYTER_CONFIG", "JUPYTERLAB_SETTINGS", "JUPYTERLAB_WORKSPACES"):
        environment[f"{own}_DIR"] = str(tmp_path / own)
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--port=0", "--allow-root"]
    command += [f"--ServerApp.root_dir={tmp_path}"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        running = []
        while not running:
            assert server.poll() is None, "JupyterLab ended before it began to listen"
            time.sleep(0.2)
            with suppress(ValueError):  # of a file that is half-written
                running += list_running_servers(tmp_path / "JUPYTER_RUNTIME")
        yield f"{running[0]['url']}lab/tree/widget.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_a_slider_redraws_the_picture_and_nothing_comes_from_the_web(lab):
    from playwright.sync_api import TimeoutError, expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(lab)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=90_000)
        picture = page.locator(".jp-OutputArea img").first
        for _ in range(4):  # JupyterLab drops what is run in the moment before its kernel is connected
            page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
            page.keyboard.press("Control+Enter")
            with suppress(TimeoutError):
                picture.wait_for(timeout=20_000)
                break
        first = picture.get_attribute("src")
        height = picture.evaluate("image => image.naturalHeight")
        page.locator(".jp-OutputArea .noUi-handle").first.focus()
        for _ in range(2):
            page.keyboard.press("ArrowRight")
        expect(picture).not_to_have_attribute("src", first, timeout=30_000)
        higher = "height => document.querySelector('.jp-OutputArea img').naturalHeight > height"
        page.wait_for_function(higher, arg=height)
        page.wait_for_function("window.MathJax && MathJax.version")  # of the formula
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(1).click()
        page.keyboard.press("Control+Enter")
        page.locator(".MCButton").first.wait_for(timeout=20_000)
        page.wait_for_timeout(1_000)  # jupyterquiz looks for it after half a second
        here = re.compile(r"(https?|wss?)://(localhost|127\.0\.0\.1)[:/]|data:|blob:")
        assert [address for address in asked if not here.match(address)] == []
        browser.close()
