"""Readings of an energy meter where something around it goes wrong: all is named, and none is lost."""

import json
import subprocess
import sys

import pytest

from helpers import energy
from helpers.assets import ROOT

SLEEP = [sys.executable, "-c", "import time; time.sleep(0.1)"]


def python(*command, **settings):
    command = [sys.executable, *command]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **settings)


def metered(folder, *command, **settings):
    return python("cluster/metered.py", "--country", "USA", "--folder", folder, "--", *command, **settings)


@pytest.mark.parametrize(("program", "status"), [("no-such-program", 127), (str(ROOT), 126)])
def test_a_program_that_cannot_be_started_is_named_and_the_meter_ends_well(tmp_path, program, status):
    done = metered(tmp_path, program)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"error: {program} can't be started: ") and "Traceback" not in done.stderr
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_a_reading_that_the_disk_has_no_room_for_is_shown(tmp_path):
    resource = pytest.importorskip("resource", reason="Windows limits no file's size")
    little = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))}
    done = metered(tmp_path, *SLEEP, **little)
    message, text = done.stderr.splitlines()[-2:]
    assert done.returncode == 1 and message.endswith("can't be written (File too large). Save this there:")
    assert energy.Reading.from_raw(json.loads(text)).machine == energy.machine_id()
    assert [path.suffix for path in tmp_path.iterdir()] == [".started"], "the sum is not known"


def test_a_folder_that_cannot_be_written_stops_it_before_the_command_starts(tmp_path):
    (tmp_path / "file").touch()
    done = metered(tmp_path / "file", sys.executable, "-c", "print('started')")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ['{"machine": "x", "sta', "[]", '{"machine": "x"}'])
def test_a_reading_that_is_not_whole_is_named(tmp_path, text):
    (tmp_path / "half.json").write_text(text)
    done = python("cluster/total.py", tmp_path)
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"error: {tmp_path / 'half.json'} is no whole reading (")
