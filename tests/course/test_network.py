"""Nothing asks the network or stays at home unasked, and where the course is tried is as its name says."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest
from IPython.display import HTML, Javascript

from helpers import assets, quiz
from tests.environments import __main__ as environments
from tests.shared import python
from tools import notebooks

USE = """
import socket
asked = []
socket.socket.connect = lambda self, address: asked.append(address)
socket.getaddrinfo = lambda *arguments, **options: asked.append(arguments) or []
import helpers, onnxruntime
from huggingface_hub.utils import build_hf_headers
from onnx import parser
text = '<ir_version: 9, opset_import: ["": 17]> relu (float[1] x) => (float[1] y) {y = Relu(x)}'
onnxruntime.InferenceSession(parser.parse_model(text).SerializeToString())
build_hf_headers()
print(asked)
"""
PROBE = """
import os, socket
from contextlib import suppress
from helpers import machine
for family, host in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
    with suppress(OSError):
        socket.socket(family, socket.SOCK_DGRAM).connect((host, 9))
written = []
for folder in (os.environ["HOME"], os.getcwd(), "data", os.environ["work"] + "/out"):
    with suppress(OSError):
        open(folder + "/new", "w").close()
        written.append(folder)
print(os.getuid(), os.environ["LANG"], machine.cores(), int(machine.memory_bytes()[0]), *written)
"""


def test_nothing_reports_its_use(tmp_path):
    """Neither onnxruntime from its first session on nor the hub's client, which looks up who calls it."""
    switches = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")
    others = {name: value for name, value in os.environ.items() if name not in switches}
    done = python("-c", USE, env=others | {"HOME": str(tmp_path)})
    assert (done.stdout, done.stderr) == ("[]\n", "") and list(tmp_path.rglob("*")) == []


def test_a_quiz_fetches_nothing(monkeypatch):
    shown = []
    for module in ("IPython.display", "jupyterquiz.dynamic.display"):
        monkeypatch.setattr(f"{module}.display", shown.append)
    quiz.display_quiz(str(assets.ROOT / "exercises/quiz/losses.json"))
    before, page, script = shown
    assert isinstance(before, Javascript) and isinstance(page, HTML) and isinstance(script, Javascript)
    assert before.data == "if (window.MathJax && !window.MathJax.typeset) window.MathJax.typeset = () => {};"
    *parts, _ = script.data.split("cdn.jsdelivr.net")  # each stands in the branch without that function
    assert all("if (MathJax.hasOwnProperty('typeset') )" in part[-700:] for part in parts)
    for path in notebooks.course().values():
        assert "from jupyterquiz import" not in path.read_text(encoding="utf-8"), path.name


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="namespaces need Linux and root")
def test_the_environments_are_what_they_are_called():
    run = environments.Run((*environments.RUNS["away"].environments, "2 GB of memory", "one core"))
    with environments.room(run) as (work, variables):
        command = [*environments.command(run, "out"), sys.executable, "-c", PROBE]
        variables["models"] = str(assets.ROOT / "docs")  # in their place; nothing here asks for a model
        done = subprocess.run(command, env=variables, capture_output=True, text=True)
        if not (work / "made").exists():
            pytest.skip(f"they can't be made here: {done.stderr}")
        user, language, cores, memory, *written = (work / "out.log").read_text().split()
        assert (language, cores, written) == ("C", "1", [f"{work}/out"]) and user != "0"
        assert 1.9e9 < int(memory) <= 2e9 and environments.attempts((work / "network").read_text()) == 2
    assert not work.exists()


def test_the_table_has_all_environments_and_no_failure():
    text = environments.TABLE.read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.partition(environments.HEAD)[2].splitlines()]
    tried = [each for run in environments.RUNS.values() for each in run.environments]
    tried += [environments.HUB, environments.COLAB]
    assert [row[0].removeprefix("| ") for row in rows[: len(tried)]] == tried
    assert len(rows) > len(tried) and all("not tried: " in row[3] for row in rows[len(tried) :])
    for row in rows:
        assert re.fullmatch(r"(\d+) of \1 ok.*|.*as it should be|not tried.*", row[3])
        assert not re.search(r"instead of|exit status|traceback|left |FAIL|[1-9]\d* attempts", row[3])
    for known in environments.KNOWN_AT_HOME:
        assert Path(known).parts[0] in text


NAMED = {(): len(environments.RUNS), ("twice", "full"): 2, ("all",): 0}


@pytest.mark.parametrize(("named", "count"), NAMED.items())
def test_all_environments_are_tried_or_those_that_are_named(monkeypatch, named, count):
    monkeypatch.setattr(sys, "argv", ["environments", *named])
    monkeypatch.setattr(environments.signal, "signal", Mock())
    monkeypatch.setattr(environments, "write", Mock())
    monkeypatch.setattr(environments, "tried", tried := Mock(return_value=(True, {})))
    with nullcontext() if count else pytest.raises(SystemExit):
        assert environments.main() == 0
    assert tried.call_count == count
