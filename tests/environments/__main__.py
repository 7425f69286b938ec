"""Run the course where people are, and say what came of it: ``python -m tests.environments [run ...]``.

Each run takes a fresh copy of the last commit, makes its environments, as many as can hold at once, and
executes the course in the quick profile: ten minutes or more on two cores. The table in docs/environments.md
keeps the results, unless `--notebook TOPIC ...` shortens a run. Most environments need Linux and root; the
table says why one can't be made. Its other rows come from hub.py and colab.sh, or are written by hand.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil

from helpers import processes
from helpers.assets import MODELS, ROOT

TABLE = ROOT / "docs" / "environments.md"
HEAD = "| environment | run | notebooks | result | when, and on what |\n|---|---|---|---|---|\n"
ROOM = ROOT / "tests" / "environments" / "room.sh"  # has the lines that make each environment
NO_NETWORK, TWICE, LETTERS = "no network", "two runs at once", "a path with spaces, é and 水"
HUB = "a JupyterHub, three people at once"  # hub.py tries it
COLAB = "Colab's versions, with a stand-in for google.colab"  # colab.sh does
# What may be in a home folder afterward: matplotlib's list of fonts, and a profile of IPython's.
KNOWN_AT_HOME = (".cache/matplotlib/fontlist-", ".ipython/profile_default/")
WAIT_S = 300  # for a kernel to come so far


@dataclass(frozen=True)
class Run:
    """What holds at once, what happens meanwhile, and what should come of it."""

    environments: tuple[str, ...]
    notebooks: tuple[str, ...] = ()  # topics; none are all
    meanwhile: Callable[[Path, psutil.Process], None] | None = None  # takes the run's folder and its shell
    results: tuple[str, ...] = ("ok",)  # of each notebook; the last one's are also those of the rest
    statuses: tuple[int, ...] = (0,)


def kernels(process: psutil.Process) -> list[psutil.Process]:
    """List the running kernels that a process, or one that it started, has started."""
    started = {child.pid for child in process.children(recursive=True)}
    found = (each for each in psutil.process_iter(["cmdline"]) if each.pid in started)
    return [each for each in found if "ipykernel_launcher" in (each.info["cmdline"] or ())]


def wait_for(work: Path, shell: psutil.Process, executed: str) -> psutil.Process:
    """Wait for the first notebook's kernel, until the notebook's copy contains `executed`; return it."""
    for _ in range(WAIT_S * 20):
        copies = [path.read_text("utf-8") for path in (work / "out").glob("*.ipynb")]
        if any(executed in copy for copy in copies) and (found := kernels(shell)):
            return found[0]
        shell.children()  # an error if it has ended
        time.sleep(0.05)
    raise TimeoutError(f"no kernel came so far within {WAIT_S} s")


def kill(work: Path, shell: psutil.Process) -> None:
    """Kill the first notebook's kernel in its third cell."""
    wait_for(work, shell, '"execution_count": 2').kill()


def interrupt(work: Path, shell: psutil.Process, executed: str | None = '"execution_count": 2') -> None:
    """Do what Ctrl-C in a terminal does, in the first notebook's third cell or, without `executed`, early."""
    while executed is None and not (work / "out.log").exists() and shell.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    time.sleep(1) if executed is None else wait_for(work, shell, executed)
    os.killpg(shell.pid, signal.SIGINT)


AWAY = (NO_NETWORK, "an ordinary user", "HOME can't be written", "the course and data/ can't be written")
TWO, STOPPED = ("welcome", "losses"), ("interrupted", "not run")
RUNS = {
    "away": Run((*AWAY, "LANG=C", LETTERS)),
    "small": Run(("2 GB of memory", "one core", "an empty HOME")),
    "twice": Run((TWICE,)),
    "full": Run(("a full disk",), TWO, None, ("failed",), (1,)),
    "killed": Run(("a kernel killed in a cell, with -9",), TWO, kill, ("failed", "ok"), (1,)),
    "ctrl-c-early": Run(("Ctrl-C as it starts",), TWO, partial(interrupt, executed=None), (), (1, 130)),
    "ctrl-c-kernel": Run(("Ctrl-C before a cell",), TWO, partial(interrupt, executed=""), STOPPED, (130,)),
    "ctrl-c-cell": Run(("Ctrl-C in a cell",), TWO, interrupt, STOPPED, (130,)),
}


@contextmanager
def room(run: Run) -> Iterator[tuple[Path, dict[str, str]]]:
    """Make a folder for a copy of the course, a home and outputs; give it and the variables of room.sh."""
    work = Path(tempfile.mkdtemp(prefix="course-")).resolve()
    try:
        work.chmod(0o755)
        own = {"work": work, "root": ROOT, "models": MODELS, "HOME": work / "home", "python": sys.executable}
        own["pythons"] = f"{Path(sys.base_prefix).resolve()} {Path(sys.prefix).resolve()}"
        others = {name: text for name, text in os.environ.items() if not name.startswith(("JUPYTER", "XDG_"))}
        yield work, others | {name: str(value) for name, value in own.items()}
    finally:
        for group in Path("/sys/fs/cgroup").glob(f"*/{work.name}"):
            group.rmdir()
        shutil.rmtree(work)


def command(run: Run, *outputs: str) -> list[str]:
    """Give the command that makes a run's environments; what follows it is run in them, for each output."""
    spaces = ["unshare", "--mount"] if platform.system() == "Linux" and os.geteuid() == 0 else []
    spaces += ["--net"] if NO_NETWORK in run.environments else []
    return [*spaces, "bash", str(ROOM), ";".join(run.environments), " ".join(outputs)]


def impossible(environment: str) -> str:
    """Make one environment on trial; return why that failed, or an empty text."""
    run = Run((environment,))
    with room(run) as (work, variables):
        done = subprocess.run(command(run), env=variables, capture_output=True, text=True)
        return "" if (work / "made").exists() else (done.stderr.splitlines() or ["no reason given"])[-1]


def attempts(snmp: str) -> int:
    """Count the attempts to reach another host, in a network namespace that has nothing but loopback.

    No way leads out of it, and the kernel counts whatever found none, for IPv4 and for IPv6.
    """
    names, values = (line.split() for line in snmp.splitlines() if line.startswith("Ip: "))
    six = re.search(r"^Ip6OutNoRoutes\s+(\d+)", snmp, re.MULTILINE)
    return int(dict(zip(names, values, strict=True))["OutNoRoutes"]) + int(six[1] if six else 0)


def problems(run: Run, work: Path, output: str) -> Iterator[str]:
    """Say what did not come as it should."""
    read = lambda kind: (work / f"{output}.{kind}").read_text("utf-8")  # noqa: E731
    log, errors, status = map(read, ("log", "err", "status"))
    found = re.findall(r"^(\d\d_\w+) +(ok|failed|interrupted|not run)\b", log, re.MULTILINE)
    for place, (notebook, result) in enumerate(found if run.results else ()):
        if result != (expected := run.results[min(place, len(run.results) - 1)]):
            reason = re.search(rf"^{notebook}: (.*)", errors, re.MULTILINE)
            yield f"{notebook} {result} instead of {expected}" + (f" ({reason[1]})" if reason else "")
    if int(status) not in run.statuses or (run.results and not found):
        yield f"exit status {status.strip()}: {(errors.splitlines() or ['no word'])[-1]}"
    if "Traceback" in errors:
        yield "it showed a traceback"
    for path in (work / output).iterdir():
        try:
            json.loads(path.read_text("utf-8"))
        except ValueError:
            yield f"{path.name} is half-written"


def leftovers(work: Path) -> Iterator[str]:
    """End the processes that a run left behind, and name them, and the unknown files in its home."""
    found = [each for each in psutil.process_iter(["environ", "cmdline"]) if each.info["environ"]]
    left = [each for each in found if each.info["environ"].get("work") == str(work)]
    yield from (f"left running: {' '.join(each.info['cmdline'])[:60]}" for each in left)
    processes.end({*left})
    home = work / "home"
    files = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    yield from (f"left in HOME: {name}" for name in files if not name.startswith(KNOWN_AT_HOME))


def attempt(run: Run) -> tuple[bool, str]:
    """Do a run; return whether all came as it should, and a sentence."""
    outputs = ("out", "second") if TWICE in run.environments else ("out",)
    course = [sys.executable, "-m", "tools", "run", *run.notebooks, "--profile", "quick"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with room(run) as (work, variables):
        made = [*command(run, *outputs), *course]
        process = subprocess.Popen(made, env=variables, start_new_session=True, **quiet)
        try:
            with suppress(TimeoutError, psutil.NoSuchProcess):  # then the results tell
                (run.meanwhile or (lambda *_: None))(work, psutil.Process(process.pid))
            bad = process.communicate()[1].splitlines()
        finally:
            left = list(leftovers(work))
        if not (work / "made").exists():
            return False, f"not made: {'; '.join(bad)}"
        bad += left + [problem for output in outputs for problem in problems(run, work, output)]
        if (work / "unready").exists():
            bad += re.findall(r"^FAIL.*", (work / "check.log").read_text("utf-8"), re.MULTILINE)
        logs = "".join((work / f"{output}.log").read_text("utf-8") for output in outputs)
        good = re.findall(r"^total +(\d+ of \d+ ok)", logs, re.MULTILINE)
        good += ["as it should be"] if run.results != ("ok",) and not bad else []
        if NO_NETWORK in run.environments:
            count = attempts((work / "network").read_text())
            (bad if count else good).append(f"{count} attempts to reach a network")
    return not bad, "; ".join([*good, *bad]).replace("|", "/")


def rows(environments: Iterable[str], *cells: str) -> dict[str, str]:
    """Give the table's row of each environment, from the run, its notebooks and what came of it, and when."""
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    machine = f"{platform.system()}, Python {platform.python_version()}, {psutil.cpu_count()} cores"
    when = f"{datetime.date.today()}, {commit}, {machine}"
    return {each: f"| {' | '.join((each, *cells, when))} |" for each in environments}


def tried(name: str, run: Run) -> tuple[bool, dict[str, str]]:
    """Do a run; return whether all came as it should, and the table's row of each environment."""
    reasons = {each: reason for each in run.environments if (reason := impossible(each))}
    made = tuple(each for each in run.environments if each not in reasons)
    good, text = attempt(replace(run, environments=made)) if made else (True, "")
    found = rows(made, name, ", ".join(run.notebooks) or "all", text)
    for each, reason in reasons.items():
        found |= rows([each], name, "", f"not tried: {reason}")
    return good, found


def write(changed: dict[str, str]) -> None:
    """Put rows into the table, in place of those of the same environments, and keep the others."""
    text, _, stored = TABLE.read_text(encoding="utf-8").partition(HEAD)
    known = {line.split(" |")[0].removeprefix("| "): line for line in stored.splitlines()} | changed
    TABLE.write_text(text + HEAD + "\n".join(known.values()) + "\n", encoding="utf-8")


def main() -> int:
    """Do the runs that are named, or all; return 1 if one did not come as it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.environments", description=__doc__.split("\n")[0])
    names = [*RUNS, []]  # where none is named, argparse asks whether [] is one
    parser.add_argument("runs", nargs="*", metavar="run", choices=names, help=f"{', '.join(RUNS)} (all)")
    parser.add_argument("--notebook", nargs="+", metavar="topic", help="these instead of a run's own")
    chosen = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a background job ignores Ctrl-C, and so would its runs
        signal.signal(number, signal.default_int_handler)
    all_good = True
    for name in chosen.runs or RUNS:
        run = replace(RUNS[name], notebooks=tuple(chosen.notebook)) if chosen.notebook else RUNS[name]
        good, found = tried(name, run)
        all_good = all_good and good
        print(f"{name}: {'good' if good else 'NOT GOOD'}", *found.values(), sep="\n", flush=True)
        if not chosen.notebook:
            write(found)
    return int(not all_good)


if __name__ == "__main__":
    sys.exit(main())
