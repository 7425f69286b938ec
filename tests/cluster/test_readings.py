"""Readings of an energy meter where something around it goes wrong: all is named, and none is lost."""

import json
import re
import signal
import subprocess
import sys

import psutil
import pytest

from helpers import energy
from helpers.assets import ROOT
from tests.shared import python

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
SLEEP = "import time; print('asleep', flush=True); time.sleep({})"
METERED, TOTAL = ("cluster/metered.py", "--country", "USA", "--folder"), "cluster/total.py"


def metered(folder, *words, **settings):
    return python(*METERED, folder, "--", *words, **settings)


def asleep(folder):
    words = [sys.executable, *METERED, folder, "--", sys.executable, "-c", SLEEP.format(60)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "asleep\n"
    return process, psutil.Process(process.pid).children()


@needs_signals
@pytest.mark.parametrize("request_to_end", [signal.SIGTERM, signal.SIGINT])
def test_a_meter_that_is_asked_to_end_leaves_its_reading(request_to_end, tmp_path):
    process, children = asleep(tmp_path)
    process.send_signal(request_to_end)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert not any(child.is_running() for child in children)
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
    assert python(TOTAL, tmp_path).returncode == 0


@needs_signals
def test_a_meter_that_was_killed_makes_the_sum_unknown(tmp_path):
    metered(tmp_path, sys.executable, "-c", SLEEP.format(1))
    process, children = asleep(tmp_path)
    process.kill()
    process.wait()
    children[0].kill()
    done = python(TOTAL, tmp_path)
    assert done.returncode == 1 and "1 reading of 1 machine" in done.stdout.replace("readings", "reading")
    assert re.search(r"used more, and nobody knows how much: \S+ began and left no reading", done.stderr)


def test_a_program_or_a_folder_that_cannot_be_used_is_named_and_nothing_starts(tmp_path):
    for program, status in (("no-such-program", 127), (str(ROOT), 126)):
        done = metered(folder := tmp_path / str(status), program)
        assert (done.returncode, done.stdout) == (status, "") and "Traceback" not in done.stderr
        assert done.stderr.startswith(f"error: {program} can't be started: ")
        assert [path.suffix for path in folder.iterdir()] == [".json"], "the meter ends well"
    (tmp_path / "file").touch()
    done = metered(tmp_path / "file", sys.executable, "-c", "print('started')")
    assert (done.returncode, done.stdout) == (1, "") and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def test_a_reading_that_the_disk_has_no_room_for_is_shown(tmp_path):
    resource = pytest.importorskip("resource", reason="Windows limits no file's size")
    little = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))}
    done = metered(tmp_path, sys.executable, "-c", SLEEP.format(0.1), **little)
    message, text = done.stderr.splitlines()[-2:]
    assert done.returncode == 1 and message.endswith("can't be written (File too large). Save this there:")
    assert energy.Reading.from_raw(json.loads(text)).machine == energy.machine_id()
    assert [path.suffix for path in tmp_path.iterdir()] == [".started"], "the sum is not known"


def test_a_reading_that_is_not_whole_is_named(tmp_path):
    metered(tmp_path, sys.executable, "-c", SLEEP.format(0.1))
    whole, half = next(tmp_path.iterdir()).rename(tmp_path / "a.json"), tmp_path / "half.json"
    raw = json.loads(whole.read_text())
    parts = [part | {"energy_wh": -5.0, "method": "measured"} for part in raw["cost"]["components"]]
    costs = [raw["cost"] | change for change in ({"wall_s": -3.0}, {"wall_s": "3"}, {"components": parts})]
    other = [raw | {name: [5]} for name in ("machine", "started")] + [raw | {"cost": cost} for cost in costs]
    cut = ('{"machine": "x", "sta', "[]", '{"machine": "x"}', "[" * 100_000, None)
    for text in (*cut, *map(json.dumps, other)):
        half.symlink_to("gone") if text is None else half.write_text(text)
        done = python(TOTAL, tmp_path)
        assert done.stderr.startswith(f"error: {half} is no whole reading (") and done.stderr.count("\n") == 1
        assert (done.returncode, done.stdout) == (1, "")
        half.unlink()
