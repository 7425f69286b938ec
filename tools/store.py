"""Execute notebooks for storage and record what they cost: `python -m tools store`, for maintainers.

A notebook is replaced only by a copy that ran to its end and has the form that `tools.notebooks` asks for.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import nbformat

from helpers import environment
from tools import kernel, notebooks, runner

README = runner.NOTEBOOKS.parent / "README.md"
COSTS = "costs.json"
COST_MARKS = ("<!-- cost -->", "<!-- /cost -->")
TABLE_MARKS = ("<!-- notebooks -->", "<!-- /notebooks -->")


@dataclass(frozen=True)
class Cost:
    """What executing a stored notebook took, where and when."""

    title: str
    wall_s: float
    peak_memory_gb: float
    energy_wh: float | None
    energy_method: str | None
    cpu: str
    cores: int
    recorded: str

    def __str__(self) -> str:
        energy = f"used {_energy(self)}" if self.energy_wh is not None else "used an unknown amount of energy"
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        peak = f"{self.peak_memory_gb:.1f} GB at its peak"
        return f"On {cores} it took {_duration(self.wall_s)}, {peak}, and {energy}."


def store(names: Sequence[str] = (), folder: Path = runner.NOTEBOOKS, readme: Path = README) -> int:
    """Execute notebooks in place, with their stored parameters, and record what each cost.

    Parameters
    ----------
    names : sequence of str
        Which notebooks; all of them if empty.
    folder : path
        Where the notebooks and costs.json are.
    readme : path
        The file whose table of notebooks is rewritten; it is left out if it does not exist.

    Returns
    -------
    int
        0, 1 if a notebook was not stored, 130 if it was interrupted. What was not stored is unchanged.

    Raises
    ------
    runner.RunError
        If a notebook does not exist, or a place to write a cost to is missing. Nothing has run then.
    """
    chosen = runner.choose(names, folder)
    _check_marks(chosen, readme)
    status = 0
    with kernel.course_kernel(COURSE_STATIC="1"):
        for path in chosen:
            notebook = notebooks.read(path)
            seen = kernel.watch(
                path.stem, lambda notebook=notebook, path=path: _execute(notebook, path.parent)
            )
            if isinstance(seen.error, KeyboardInterrupt):
                print(f"{path.stem}: interrupted, left as it was", file=sys.stderr)
                return runner.INTERRUPTED
            notebooks.tidy(notebook)
            wrong = [_brief(seen.error)] if seen.error else notebooks.problems(notebook)
            if wrong:
                print(f"{path.stem}: left as it was: " + "; ".join(wrong), file=sys.stderr)
                status = 1
                continue
            _record(path, notebook, seen, readme)
    return status


def cost_table(costs: dict[str, Cost]) -> str:
    """Write the README's table of notebooks, with where and when it was recorded."""
    machines = sorted({f"{cost.cpu}, {cost.cores} cores" for cost in costs.values()})
    days = sorted({cost.recorded for cost in costs.values()})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    lines = [
        f"Recorded on {' and '.join(machines)}, {when}.",
        "",
        "| notebook | what it is | machine time | peak memory | energy |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| [{stem}](notebooks/{stem}.ipynb) | {cost.title} | {_duration(cost.wall_s)} "
        f"| {cost.peak_memory_gb:.1f} GB | {_energy(cost)} |"
        for stem, cost in sorted(costs.items())
    ]
    return "\n".join(lines)


def between(text: str, marks: tuple[str, str], content: str) -> str:
    """Replace what stands between two marks.

    Examples
    --------
    >>> between("a <x> old </x> b", ("<x>", "</x>"), "new")
    'a <x>new</x> b'
    """
    pattern = re.compile(re.escape(marks[0]) + ".*?" + re.escape(marks[1]), re.DOTALL)
    return pattern.sub(lambda _: marks[0] + content + marks[1], text, count=1)


def _execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    from nbclient import NotebookClient

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=kernel.CELL_TIMEOUT_S,
        startup_timeout=kernel.START_TIMEOUT_S,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder.resolve())}},
    )
    client.execute()


def _record(path: Path, notebook: nbformat.NotebookNode, seen: kernel.Watched, readme: Path) -> None:
    """Write a notebook, its cost in it, in costs.json and in the README."""
    cost = Cost(
        title=notebooks.title(notebook),
        wall_s=round(seen.wall_s, 1),
        peak_memory_gb=round(seen.peak_memory_gb, 2),
        energy_wh=seen.energy_wh,
        energy_method=seen.energy_method,
        cpu=environment.cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        recorded=date.today().isoformat(),
    )
    notebook.cells[0].source = between(notebook.cells[0].source, COST_MARKS, str(cost))
    nbformat.validate(notebook)
    _replace(path, nbformat.writes(notebook) + "\n")
    costs = _read_costs(path.parent / COSTS) | {path.stem: cost}
    costs = {stem: each for stem, each in costs.items() if (path.parent / f"{stem}.ipynb").exists()}
    text = json.dumps({stem: asdict(each) for stem, each in sorted(costs.items())}, indent=2)
    _replace(path.parent / COSTS, text + "\n")
    if readme.exists():
        _replace(readme, between(readme.read_text(encoding="utf-8"), TABLE_MARKS, f"\n{cost_table(costs)}\n"))
    print(f"{path.stem}: stored. {cost}", flush=True)


def _check_marks(chosen: Sequence[Path], readme: Path) -> None:
    """Refuse to start where a cost could not be written at the end."""
    places = [(path.name, notebooks.read(path).cells[0].source, COST_MARKS) for path in chosen]
    if readme.exists():
        places.append((readme.name, readme.read_text(encoding="utf-8"), TABLE_MARKS))
    for name, text, (opening, closing) in places:
        if not -1 < text.find(opening) < text.find(closing):
            where = "its first cell" if name.endswith(".ipynb") else "it"
            raise runner.RunError(f"{name}: no place for the cost; put {opening}{closing} in {where}")


def _read_costs(path: Path) -> dict[str, Cost]:
    if not path.exists():
        return {}
    return {stem: Cost(**values) for stem, values in json.loads(path.read_text(encoding="utf-8")).items()}


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _brief(error: BaseException) -> str:
    """Give the end of nbclient's long message, where the error itself stands."""
    from nbclient.exceptions import CellExecutionError

    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}"
    return f"{type(error).__name__}: {error}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _energy(cost: Cost) -> str:
    if cost.energy_wh is None:
        return "unknown"
    amount, method = kernel.energy_text(cost.energy_wh, cost.energy_method).rsplit(" ", 1)
    return f"{amount} ({method})"
