"""Three people at a JupyterHub that hub.sh has made; its first lines say more.

Three users log in with a browser, run all of Welcome, then measure five seconds of work at the same time.
"""

import asyncio
import json
import os
import time
from pathlib import Path

import psutil
from playwright.async_api import async_playwright

from tests.environments.__main__ import HUB, rows, write
from tests.notebooks.test_browser import CHROMIUM, FLAGS
from tools.notebooks import ROOT, course

SEATS, PASSWORD = os.environ.get("SEATS", "").split(), os.environ.get("PASSWORD", "")  # by hub.sh
READY = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN = Path(__file__).with_suffix(".js").read_text()
MEASURE = """
import dataclasses, json, psutil
busy = lambda: sum((t := psutil.cpu_times())[:8]) - t.idle - t.iowait
with energy.measure("with the wait", country="USA"):
    time.sleep(max(0, {start} - time.time()))
    with energy.measure("five seconds of sentences", country="USA") as meter:
        busy_s, end = busy(), time.perf_counter() + 5
        while time.perf_counter() < end:
            embed(many)
        busy_s = busy() - busy_s
print(json.dumps(dataclasses.asdict(meter.result) | {{"busy_s": busy_s}}))
meter.result
"""  # embed and many are the notebook's


def used(user, word=""):
    """Memory (PSS: of shared pages a part) and CPU of a user's processes, or of those with a word in them."""
    found = psutil.process_iter(["username", "cmdline", "memory_full_info", "cpu_times"])
    found = [each.info for each in found if each.info["username"] == user and each.info["memory_full_info"]]
    found = [each for each in found if word in " ".join(each["cmdline"] or [])]
    cpu_s = sum(sum(each["cpu_times"][:2]) for each in found)
    return f"{sum(each['memory_full_info'].pss for each in found) / 1e9:.2f} GB, {cpu_s:.0f} CPU s"


async def sit(browser, user, together):
    """One person's visit: log in, run the notebook, measure, each when the others do; what was measured."""
    page = await (await browser.new_context()).new_page()
    await page.goto(f"http://127.0.0.1:8000/hub/user-redirect/lab/tree/notebooks/{course()['welcome'].name}")
    await page.fill("#username_input", user)
    await page.fill("#password_input", PASSWORD)
    await together.wait()
    begin = time.perf_counter()
    await page.click("#login_submit")
    await page.wait_for_function(READY, timeout=300_000)
    print(f"{user}: kernel ready after {time.perf_counter() - begin:.0f} s, {used(user)}")
    await together.wait()
    begin = time.perf_counter()
    outputs = await page.evaluate(RUN)
    took, kernel = time.perf_counter() - begin, used(user, "ipykernel_launcher")
    print(f"{user}: all run after {took:.0f} s, {used(user)}; its kernel {kernel}")
    await together.wait()
    outputs += (last := await page.evaluate(RUN, MEASURE.format(start=time.time() + 15)))
    await page.screenshot(path=ROOT / "build" / "hub" / f"{user}.png")
    assert not (errors := [each for each in outputs if each["output_type"] == "error"]), errors
    return json.loads(last[0]["text"])


async def visit():
    together = asyncio.Barrier(len(SEATS))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        return await asyncio.gather(*(sit(browser, user, together) for user in SEATS))


def judge(seats):
    """The meters' arithmetic: own and others' seconds are the machine's, and neighbors are others."""
    for seat in seats:
        total, own, busy = psutil.cpu_count() * seat["wall_s"], seat["cpu_s"], seat["busy_s"]
        others, beside = seat["foreign_load"] * total, sum(each["cpu_s"] for each in seats) - own
        print(f"{own:.2f} s own + {others:.2f} others' = {busy:.2f} of {total:.2f}; neighbors {beside:.2f}")
        assert abs(own + others - busy) < 0.05 * total and others > 0.95 * beside
        assert any(f"other processes used {seat['foreign_load']:.0%}" in note for note in seat["notes"])


if __name__ == "__main__":
    seats = asyncio.run(visit())
    print(f"hub {used('root', 'bin/jupyterhub')}; proxy {used('root', 'configurable-http-proxy')}")
    judge(seats)
    write(rows([HUB], "hub", "welcome", "all run it, and own and others' work add up; as it should be"))
