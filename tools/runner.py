"""Execute copies of the notebooks with papermill, written cell by cell: `python -m tools run`."""

import json
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from tools import RunError, kernel, notebooks
from tools.kernel import Outcome
from tools.notebooks import NOTEBOOKS

PROFILES, SUMMARY = "profiles.toml", "summary.json"
ADVICE = {  # by what an error says that is not the notebook's fault
    "Kernel died": "its process was ended from outside, most often for want of memory: "
    "close other programs, or choose --profile quick",
    "No space left": "the disk is full: free some space, or choose another folder with --output",
}
INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended
PAPERMILL = {"kernel_name": "python3", "language": "python"}
PAPERMILL |= {"progress_bar": False, "coalesce_streams": True, "store_widget_state": False}
PAPERMILL["start_timeout"] = 120  # a cold disk and two busy cores
PAPERMILL["execution_timeout"] = 1_800  # a cell that takes half an hour hangs


def run(
    names: Sequence[str] = (),
    profile: str | None = None,
    output: Path | str = "build",
    folder: Path = NOTEBOOKS,
) -> int:
    """Execute notebooks in order, print what each took, and write `summary.json` beside the copies.

    `profile` is the table of `profiles.toml` whose parameters replace the stored ones. What does not exist
    raises RunError, before anything has run. Returns 0, 1 if a notebook failed, 130 if it was interrupted.
    """
    chosen = notebooks.course(folder, names)
    changed = profile_parameters(profile, folder)
    output = Path(output)
    if output.resolve() == folder.resolve():
        raise RunError(f"{output} holds the notebooks themselves; name another folder, such as build")
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / SUMMARY).unlink(missing_ok=True)  # an earlier run's
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise RunError(f"{output} can't be written ({error.strerror}): name another with --output") from None
    outcomes: list[Outcome] = []
    print(f"{'notebook':24} {'result':11} {'time':>7}  {'memory':>7}  energy", flush=True)
    with kernel.course_kernel():
        for topic, path in chosen.items():
            if any(outcome.result == "interrupted" for outcome in outcomes):
                outcomes.append(Outcome(path.stem, "not run"))
            else:
                outcomes.append(execute(path, output / path.name, changed.get(topic)))
            print(outcomes[-1], flush=True)
    _summarise(outcomes, output)
    results = {outcome.result for outcome in outcomes}
    return INTERRUPTED if "interrupted" in results else int("failed" in results)


def profile_parameters(profile: str | None, folder: Path = NOTEBOOKS) -> dict[str, dict[str, object]]:
    """Read what a profile changes, by topic; a name in any profile that means nothing is an error."""
    path = folder / PROFILES
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (ValueError, OSError) as error:  # not UTF-8, or a folder
        raise RunError(f"{path.name} is not valid TOML: {error}") from None
    known = notebooks.course(folder)
    for name, tables in profiles.items():
        for topic, values in tables.items() if isinstance(tables, dict) else ((tables, None),):
            if topic not in known or not isinstance(values, dict):
                there = ", ".join(f"[{name}.{each}]" for each in known)
                raise RunError(f"{path.name}: [{name}.{topic}] is no table of a notebook; expected {there}")
            try:
                has = notebooks.parameters(notebooks.read(known[topic]))
            except (ValueError, SyntaxError):
                continue  # it fails when its turn comes, and the others run
            if unknown := ", ".join(values.keys() - has.keys()):
                there = f"the notebook's `parameters` cell has: {', '.join(has) or 'nothing'}"
                raise RunError(f"{path.name}: [{name}.{topic}] sets {unknown}, but {there}")
    if profile is not None and profile not in profiles:
        raise RunError(f"{path.name} has no profile {profile}; it has: {', '.join(profiles) or 'none'}")
    return profiles[profile] if profile is not None else {}


def execute(path: Path, copy: Path, parameters: dict[str, object] | None = None) -> Outcome:
    """Execute one notebook into its copy, under `kernel.course_kernel`; a failure is part of the outcome."""
    import papermill

    from helpers import energy

    result, failure = "ok", ""
    # A measurement wants a place; only its energy is used here, which no place changes.
    with kernel.watched(path.stem) as memory, energy.measure(path.stem, country="USA") as meter:
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)  # if a notebook took it away
            copy.unlink(missing_ok=True)  # an earlier run's would say how far that one came
            notebooks.read(path)  # or a RunError that says why not
            source = path.resolve()
            papermill.execute_notebook(source, copy, parameters, cwd=source.parent, **PAPERMILL)
        except (Exception, KeyboardInterrupt) as error:
            result = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            failure = _describe(error, copy)
    cost = meter.result
    return Outcome(path.stem, result, cost.wall_s, max(memory) / 1e9, cost.energy_wh, cost.method, failure)


def _describe(error: BaseException, copy: Path) -> str:
    """Name the cell that an error came from, as the copy numbers it, and the error; drop half a copy."""
    where, cells = "before its first cell", []
    try:
        cells = notebooks.read(copy).cells if copy.exists() else []
    except RunError:
        where = f"its copy in {copy.parent} could not be written"
        with suppress(OSError):
            copy.unlink()
    for number, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), start=1):
        if cell.metadata.get("papermill", {}).get("start_time"):
            where = f"cell [{number}], `{notebooks.first_line(cell.source)}`"
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted in {where}"
    name = getattr(error, "ename", type(error).__name__)  # papermill's error holds the notebook's own
    lines = str(getattr(error, "evalue", error)).strip().splitlines() or [""]
    advice = [f"; {text}" for words, text in ADVICE.items() if words in lines[0]]
    return f"{where}: {name}: {lines[0]}".removesuffix(": ") + "".join(advice)


def _summarise(outcomes: Sequence[Outcome], output: Path) -> None:
    """Print the total and the failures, and write summary.json."""
    ran = [outcome for outcome in outcomes if outcome.wall_s is not None]
    energies = [outcome.energy_wh for outcome in ran]
    methods = {outcome.energy_method for outcome in ran}
    ok, wall_s = sum(outcome.result == "ok" for outcome in outcomes), sum(outcome.wall_s for outcome in ran)
    peak_gb = max((outcome.peak_memory_gb or 0 for outcome in ran), default=0)
    energy_wh = None if None in energies else sum(energies)
    method = next((method for method in ("assumed", "modelled", "measured") if method in methods), None)
    print(Outcome("total", f"{ok} of {len(outcomes)} ok", wall_s, peak_gb, energy_wh, method))
    for outcome in outcomes:
        if outcome.failure:
            copy = output / f"{outcome.notebook}.ipynb"
            place = f"\n  how far it came: {copy}" if copy.is_file() else ""
            print(f"\n{outcome.notebook}: {outcome.failure}{place}", file=sys.stderr)
    text = json.dumps({"notebooks": [asdict(outcome) for outcome in outcomes]}, indent=2)
    notebooks.write({output / SUMMARY: text + "\n"})
    print(f"\nExecuted copies and {SUMMARY} are in {output}.")
