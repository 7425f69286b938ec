"""Execute the course with papermill: `python -m tools run`.

The stored notebooks are only read. Each executed copy goes to the output folder, written cell by cell, so
that the copy of a notebook that fails or is interrupted shows how far it came.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tools import kernel, notebooks

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PROFILES = "profiles.toml"
INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended


class RunError(ValueError):
    """What was asked for cannot be run; the message says why and what can."""


@dataclass(frozen=True)
class Outcome:
    """One line of the summary.

    Parameters
    ----------
    notebook : str
        The notebook's name without its ending.
    result : str
        "ok", "failed", "interrupted" or "not run".
    wall_s, peak_memory_gb, energy_wh : float or None
        What it took; None where it did not run or where the figure is unknown.
    energy_method : str or None
        "measured", "modelled" or "assumed".
    failure : str
        Which cell failed, and how; empty where none did.
    """

    notebook: str
    result: str
    wall_s: float | None = None
    peak_memory_gb: float | None = None
    energy_wh: float | None = None
    energy_method: str | None = None
    failure: str = ""

    def __str__(self) -> str:
        if self.wall_s is None or self.peak_memory_gb is None:
            return f"{self.notebook:24} {self.result}"
        energy = kernel.energy_text(self.energy_wh, self.energy_method)
        time, memory = kernel.clock(self.wall_s), f"{self.peak_memory_gb:.1f} GB"
        return f"{self.notebook:24} {self.result:11} {time:>7}  {memory:>7}  {energy}"


def run(
    names: Sequence[str] = (),
    profile: str | None = None,
    output: Path | str = "build",
    folder: Path = NOTEBOOKS,
) -> int:
    """Execute notebooks in order, print what each took, and write `summary.json` beside the copies.

    Parameters
    ----------
    names : sequence of str
        Which notebooks, by name or file name; all of them if empty.
    profile : str, optional
        The table of `profiles.toml` whose parameters replace the stored ones.
    output : path
        Where the executed copies go.
    folder : path
        Where the notebooks are.

    Returns
    -------
    int
        The exit status: 0, 1 if a notebook failed, 130 if it was interrupted.

    Raises
    ------
    RunError
        If a notebook, a profile or a parameter does not exist, or the copies would replace the notebooks.
        Nothing has run then.
    """
    chosen = choose(names, folder)
    changed = profile_parameters(profile, folder)
    output = Path(output).resolve()
    if output == folder.resolve():
        raise RunError(f"{output} holds the notebooks themselves; name another folder, such as build")
    output.mkdir(parents=True, exist_ok=True)
    outcomes = []
    print(f"{'notebook':24} {'result':11} {'time':>7}  {'memory':>7}  energy", flush=True)
    with kernel.course_kernel(COURSE_STATIC="1"):  # no one is there to move a slider
        for path in chosen:
            outcome = _run_one(path, changed.get(path.stem, {}), output / path.name)
            outcomes.append(outcome)
            print(outcome, flush=True)
            if outcome.result == "interrupted":
                break
    outcomes += [Outcome(path.stem, "not run") for path in chosen[len(outcomes) :]]
    _summarise(outcomes, output)
    results = {outcome.result for outcome in outcomes}
    return INTERRUPTED if "interrupted" in results else int("failed" in results)


def choose(names: Sequence[str], folder: Path = NOTEBOOKS) -> list[Path]:
    """Find notebooks by name, in the order of the course.

    Raises
    ------
    RunError
        If a name is not that of a notebook in `folder`, or there is none at all.
    """
    known = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    asked = [Path(name).name.removesuffix(".ipynb") for name in names]
    unknown = [name for name in asked if name not in known]
    if unknown or not known:
        there = ", ".join(known) or f"none in {folder}"
        raise RunError(f"no notebook is called {', '.join(unknown) or 'NN_*.ipynb'}; there is: {there}")
    return [path for stem, path in known.items() if stem in asked or not asked]


def profile_parameters(profile: str | None, folder: Path = NOTEBOOKS) -> dict[str, dict[str, object]]:
    """Read what a profile changes, by notebook, after checking every profile against the notebooks.

    Raises
    ------
    RunError
        If the profile does not exist, or names a notebook or a parameter that does not exist.
    """
    path = folder / PROFILES
    profiles = _read_profiles(path)
    wrong = [
        problem for name, tables in profiles.items() for problem in _profile_problems(name, tables, folder)
    ]
    if wrong:
        raise RunError(f"{path.name}: " + "; ".join(wrong))
    if profile is None:
        return {}
    if profile not in profiles:
        raise RunError(f"{path.name} has no profile {profile}; it has: {', '.join(profiles) or 'none'}")
    return profiles[profile]


def _read_profiles(path: Path) -> dict[str, dict[str, dict[str, object]]]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise RunError(f"{path.name} is not valid TOML: {error}") from None


def _profile_problems(profile: str, tables: object, folder: Path) -> list[str]:
    """List the names in one profile that mean nothing."""
    if not isinstance(tables, dict):
        return [f"{profile} is a value, expected tables such as [{profile}.00_welcome]"]
    found = []
    for stem, values in tables.items():
        path = folder / f"{stem}.ipynb"
        if not path.exists():
            found.append(f"[{profile}.{stem}] names no notebook")
        elif not isinstance(values, dict):
            found.append(f"{stem} in [{profile}] is a value, expected a table [{profile}.{stem}]")
        else:
            known = notebooks.parameters(notebooks.read(path))
            there = ", ".join(known) or "nothing"
            found += [
                f"[{profile}.{stem}] sets {name}, but the notebook's `parameters` cell has: {there}"
                for name in values
                if name not in known
            ]
    return found


def _run_one(path: Path, parameters: dict[str, object], copy: Path) -> Outcome:
    """Execute one notebook into its copy; a failure is part of the outcome."""
    import papermill

    def work() -> None:
        papermill.execute_notebook(
            path.resolve(),
            copy,
            parameters=parameters,
            kernel_name="python3",
            language="python",
            cwd=path.resolve().parent,
            progress_bar=False,
            start_timeout=kernel.START_TIMEOUT_S,
            execution_timeout=kernel.CELL_TIMEOUT_S,
        )

    seen = kernel.watch(path.stem, work)
    figures = (seen.wall_s, seen.peak_memory_gb, seen.energy_wh, seen.energy_method)
    if seen.error is None:
        return Outcome(path.stem, "ok", *figures)
    result = "interrupted" if isinstance(seen.error, KeyboardInterrupt) else "failed"
    return Outcome(path.stem, result, *figures, _describe(seen.error, copy))


def _describe(error: BaseException, copy: Path) -> str:
    """Name the cell that an error came from, as the copy numbers it, and the error."""
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        what = f"{error.ename}: {error.evalue}".strip(": ")
        return f"cell [{error.exec_count}], `{notebooks.first_line(error.source)}`: {what}"
    where = "before its first cell"
    if copy.exists():
        started = [
            (number, cell)
            for number, cell in enumerate(
                (c for c in notebooks.read(copy).cells if c.cell_type == "code"), start=1
            )
            if cell.metadata.get("papermill", {}).get("start_time")
        ]
        if started:
            where = f"cell [{started[-1][0]}], `{notebooks.first_line(started[-1][1].source)}`"
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted in {where}"
    lines = str(error).strip().splitlines() or [""]
    return f"{where}: {type(error).__name__}: {lines[0]}"


def _summarise(outcomes: Sequence[Outcome], output: Path) -> None:
    """Print the total and the failures, and write summary.json."""
    ran = [outcome for outcome in outcomes if outcome.wall_s is not None]
    energies = [outcome.energy_wh for outcome in ran]
    known = bool(ran) and None not in energies
    methods = {outcome.energy_method for outcome in ran}
    weakest = next((method for method in ("assumed", "modelled", "measured") if method in methods), None)
    total = Outcome(
        "total",
        f"{sum(outcome.result == 'ok' for outcome in outcomes)} of {len(outcomes)} ok",
        sum(outcome.wall_s or 0 for outcome in ran),
        max((outcome.peak_memory_gb or 0 for outcome in ran), default=0),
        sum(energy or 0 for energy in energies) if known else None,
        weakest if known else None,
    )
    for outcome in outcomes[len(ran) :]:
        print(outcome)
    print(total)
    for outcome in outcomes:
        if outcome.failure:
            copy = _relative(output / f"{outcome.notebook}.ipynb")
            print(f"\n{outcome.notebook}: {outcome.failure}\n  how far it came: {copy}", file=sys.stderr)
    text = json.dumps({"notebooks": [asdict(outcome) for outcome in outcomes]}, indent=2)
    (output / "summary.json").write_text(text + "\n", encoding="utf-8")
    print(f"\nExecuted copies and summary.json are in {_relative(output)}.")


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
