"""Execute notebooks for storage and record what they cost: `python -m tools store`, for maintainers."""

import json
import os
import re
import sys
import tempfile
from collections import namedtuple
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import nbformat

from helpers import machine
from tools import RunError, kernel, notebooks, runner, waiting

README, COSTS = notebooks.ROOT / "README.md", "costs.json"
COST_MARKS, TABLE_MARKS = ("<!-- cost -->", "<!-- /cost -->"), ("<!-- notebooks -->", "<!-- /notebooks -->")
HEAD = "| notebook | what it is | machine time | peak memory | energy |\n|---|---|---|---|---|\n"


class Cost(namedtuple("Cost", "wall_s peak_memory_gb energy_wh energy_method cpu cores recorded long_cells")):
    """What executing a stored notebook took, where and when, and the seconds of its long cells."""

    def __str__(self) -> str:
        time, memory, energy = self.figures()
        used = "an unknown amount of energy" if self.energy_wh is None else energy
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return f"On {cores} it took {time}, {memory} at its peak, and used {used}."

    def figures(self) -> tuple[str, str, str]:
        """Write time, memory and energy for a table."""
        minutes, seconds = divmod(round(self.wall_s), 60)
        time = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        return time, f"{self.peak_memory_gb:.1f} GB", kernel.energy_text(self.energy_wh, self.energy_method)


def store(names: Sequence[str] = (), folder: Path = notebooks.NOTEBOOKS, readme: Path = README) -> int:
    """Execute notebooks in place, with their stored parameters, and record what each cost.

    A missing place for the cost, and a folder that can't be written, raise RunError before anything has run.
    Returns 0, 1 if a notebook was not stored, 130 if it was interrupted; what was not stored is unchanged.
    """
    chosen = notebooks.course(folder, names).values()
    if readme.exists():
        with_table(readme.read_text(encoding="utf-8"), folder)
    for path in chosen:
        between(notebooks.read(path).cells[0].source, COST_MARKS, "", f"{path.name}, first cell")
    if not os.access(folder, os.W_OK):
        raise RunError(f"{folder} can't be written, so nothing can be stored: make it writable")
    status = 0
    with kernel.course_kernel(), tempfile.TemporaryDirectory() as build:
        for path in chosen:
            outcome = runner.execute(path, copy := Path(build, path.name))
            if outcome.result == "interrupted":
                print(f"{path.stem}: {outcome.failure}, left as it was", file=sys.stderr)
                return runner.INTERRUPTED
            notebook = notebooks.read(copy if copy.exists() else path)
            took = {c.source: c.metadata.get("papermill", {}).get("duration") or 0 for c in notebook.cells}
            long_cells = {waiting.key(text): round(s) for text, s in took.items() if s > waiting.LONG_S}
            notebooks.tidy(notebook)
            notebooks.describe(notebook)
            if wrong := [outcome.failure] if outcome.failure else notebooks.problems(notebook):
                print(f"{path.stem}: left as it was: " + "; ".join(wrong), file=sys.stderr)
                status = 1
                continue
            _record(path, notebook, outcome, long_cells)
            if readme.exists():
                notebooks.write({readme: with_table(readme.read_text(encoding="utf-8"), folder)})
    return status


def read_costs(folder: Path = notebooks.NOTEBOOKS) -> dict[str, Cost]:
    """Give the recorded costs by topic; none where nothing is recorded."""
    path = folder / COSTS
    try:
        recorded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {topic: Cost(**cost) for topic, cost in recorded.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise RunError(f"{path.name} holds no costs ({error}); get it anew from git") from None


def with_table(text: str, folder: Path = notebooks.NOTEBOOKS) -> str:
    """Put the table of notebooks, with where and when each was recorded, between the marks of a text."""
    costs, rows = read_costs(folder), []
    for topic, path in notebooks.course(folder).items():
        if cost := costs.get(topic):
            cells = (f"[{path.stem}](notebooks/{path.name})", notebooks.title(notebooks.read(path)))
            rows.append(f"| {' | '.join((*cells, *cost.figures()))} |\n")
    machines = " and ".join(sorted({f"{cost.cpu}, {cost.cores} cores" for cost in costs.values()}))
    days = sorted(cost.recorded for cost in costs.values())
    when = " to ".join(dict.fromkeys([*days[:1], *days[-1:]]))
    return between(text, TABLE_MARKS, f"\nRecorded on {machines}, {when}.\n\n{HEAD}{''.join(rows)}")


def between(text: str, marks: tuple[str, str], content: str, name: str = "README.md") -> str:
    """Replace what stands between two marks; where they are missing, that is an error.

    >>> between("a <x> old </x> b", ("<x>", "</x>"), "new")
    'a <x>new</x> b'
    """
    pattern = re.escape(marks[0]) + ".*?" + re.escape(marks[1])
    text, found = re.subn(pattern, lambda _: marks[0] + content + marks[1], text, count=1, flags=re.DOTALL)
    if not found:
        raise RunError(f"{name}: no place for the cost; put {''.join(marks)} there")
    return text


def _record(path: Path, notebook: nbformat.NotebookNode, outcome: kernel.Outcome, long_cells: dict) -> None:
    """Write a notebook, with its cost in it and in costs.json."""
    used = (round(outcome.wall_s or 0, 1), round(outcome.peak_memory_gb or 0, 2))
    energy, today = (outcome.energy_wh, outcome.energy_method), date.today().isoformat()
    cost = Cost(*used, *energy, machine.cpu_name(), machine.cores(), today, long_cells)
    notebook.cells[0].source = between(notebook.cells[0].source, COST_MARKS, str(cost))
    nbformat.validate(notebook)
    costs = read_costs(path.parent) | {notebooks.topic(path): cost}
    kept = {topic: costs[topic]._asdict() for topic in notebooks.course(path.parent) if topic in costs}
    both = {path: nbformat.writes(notebook), path.parent / COSTS: json.dumps(kept, indent=2)}
    notebooks.write({name: f"{text}\n" for name, text in both.items()})
    print(f"{path.stem}: stored. {cost}", flush=True)
