"""Entries in words, and a class's receipts as one HTML page: checked, and ranked within one kind of hardware.

`capstone.submission` says what a check of a receipt catches, and what it can't.
"""

import base64
import glob
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt

from capstone.submission import HIDDEN_ROWS, SERVED, Attempt, CapstoneError, Entry, pareto_front, read
from helpers import plots, receipts
from helpers.energy import significant_digits
from helpers.values import quantity, replacing

LONGEST = 240  # letters of anything that a stranger's file brings along
PAGE = Path(__file__).with_name("leaderboard.html")


def describe(attempt: Attempt) -> str:
    """What an attempt reached and took, line by line, with what there is to say against it."""
    low, high = attempt.interval
    rows = "hidden" if isinstance(attempt, Entry) else "validation"
    before, *after = (f"{significant_digits(each.wall_s)} s" for each in attempt.references)
    lines = [
        attempt.name,
        f"accuracy {attempt.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}) on 1,000 {rows} sentences; "
        f"target {attempt.target:.1%} {'reached' if attempt.reached else 'MISSED'}",
        f"time of the job {_multiples(attempt, 'wall_s', 's')}; "
        f"budget {attempt.budget:g} x {'kept' if attempt.within else 'EXCEEDED'}",
        f"energy of the job {_energy(attempt)}",
        f"1 x is the reference training: {before}"
        + "".join(f", then {after_s} ({attempt.drift:+.0%})" for after_s in after),
        *(f"Note: {caution}." for caution in attempt.cautions),
    ]
    if isinstance(attempt, Entry):
        lines += [f"times that hidden rows were asked: {attempt.asked}"]
        lines += [f"Flagged: {why}" for why in attempt.problems]
    return "\n".join(lines)


def _multiples(attempt: Attempt, what: str, unit: str) -> str:
    """The job and its training, in seconds or watt-hours and in reference trainings."""
    one, values = attempt.reference(what), (attempt.job(what), attempt.train(what))
    job, train = (quantity(v, unit) + (f" ({significant_digits(v / one)} x)" if one else "") for v in values)
    return f"{job}, of it training {train}"


def _energy(attempt: Attempt) -> str:
    if attempt.job_wh is None:
        return f"unknown: {unknown(attempt)}"
    low, high = map(significant_digits, (attempt.job("low_wh"), attempt.job("high_wh")))
    joules = significant_digits(attempt.predictions.joules)
    energy = _multiples(attempt, "energy_wh", f"Wh {attempt.method}")
    return f"{energy}; {joules} J per 1,000 predictions; range of the job {low} to {high} Wh"


def placement(entry: Entry, others: Iterable[Entry] = ()) -> str:
    """Where an entry stands against others that were measured in the same way on the same hardware."""
    if entry.job_wh is None:
        return "No place on the board, which lists known energies alone: this one's is unknown, and not 0."
    sound = [each for each in others if each.job_wh is not None and not each.problems]
    alike = [each for each in sound if each.hardware == entry.hardware]
    rivals = [each for each in alike if each.receipt["digest"] != entry.receipt["digest"]]
    count = f"{len(rivals)} other entr{'y' if len(rivals) == 1 else 'ies'} on this hardware"
    better = [each for each in rivals if entry not in pareto_front([entry, each])]
    if not rivals:
        return "No other entry on this hardware to compare with."
    if not better:
        return f"On the Pareto front, beside {count}: none is as accurate for as little."
    best = min(better, key=lambda each: each.price)
    price = f"{significant_digits(best.price)} {'Wh' if best.method == 'measured' else 'x the reference'}"
    return f"Behind the Pareto front of {count}: {best.name} has {best.accuracy:.1%} for {price}."


def remarks(entry: Entry) -> list[str]:
    """Why an entry has no rank."""
    missed = ["missed the target"] * (not entry.reached) + ["over the budget"] * (not entry.within)
    return missed + entry.cautions


def unknown(attempt: Attempt) -> str:
    """Why the energy is unknown; empty if it is known."""
    parts = (*attempt.training.components, *attempt.predictions.cost.components)
    return next((str(part) for part in parts if part.energy_wh is None), "")


@dataclass(frozen=True)
class Board:
    """Receipts, sorted into those that count and those that don't."""

    groups: dict[tuple, list[Entry]]  # by hardware, target and budget; best first
    flagged: list[tuple[str, str, str]]  # file, name, and what does not agree
    refused: list[tuple[str, str]]  # file, and why it is no entry

    def __str__(self) -> str:
        count, groups = sum(map(len, self.groups.values())), len(self.groups)
        ranked = f"{count} {'entry' if count == 1 else 'entries'} in {groups} group{'s' * (groups != 1)}"
        lines = [f"{ranked}, {len(self.flagged)} flagged, {len(self.refused)} refused"]
        lines += [f"flagged  {file} ({name}): {why}" for file, name, why in self.flagged]
        lines += [f"refused  {file}: {why}" for file, why in self.refused]
        return "\n".join(lines)


def write(patterns: Sequence[str], output: str | Path) -> Board:
    """Read the receipts that names and patterns (`*`, where the shell left it) stand for, and write the page.

    Nothing is written, and `CapstoneError` raised, if one stands for no file or `output` isn't a page's name.
    """
    output = Path(output)
    if output.suffix not in (".html", ".htm"):
        raise CapstoneError(f"--output is {output.name!r}: expected a file that ends in .html.")
    board = sort(_find(patterns))
    with replacing(output) as new:
        new.write_text(page(board), encoding="utf-8", newline="\n")
    return board


def _find(patterns: Sequence[str]) -> list[Path]:
    """The files, each once, in order."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        names = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern))
        if not (files := [path for path in map(Path, names) if path.is_file()]):  # a * names folders too
            raise CapstoneError(f"There is no file {pattern}: expected receipts, such as receipts/*.json.")
        found |= dict.fromkeys(files)
    return list(found)


def sort(paths: Sequence[Path]) -> Board:
    """Read every receipt, and say where it belongs."""
    known: dict[str, tuple[str, Entry]] = {}
    refused = []
    for path in paths:
        file = _short(path.as_posix())
        try:
            entry = read(path)
            if entry.job_wh is None:
                raise CapstoneError(f"Its energy is unknown, which is not 0: {unknown(entry)}")
            key = receipts.digest(entry.receipt) + entry.receipt["digest"]
            if key in known:
                raise CapstoneError(f"It is the same receipt as {known[key][0]}.")
            known[key] = file, entry
        except Exception as error:  # a stranger's file may hold anything, and must not stop the others
            expected = isinstance(error, ValueError)
            refused.append((file, _short(str(error) if expected else f"{type(error).__name__}: {error}")))
    groups, flagged = {}, []
    for file, entry in known.values():
        # An edited copy is flagged for its edit, and is no reason to doubt the original.
        others = [each for each in known.values() if each[1] is not entry and not each[1].problems]
        copies = [
            f"Its samples are those of {other}: no two runs take the same time to the last digit."
            for other, each in others
            if entry.training.wall_s == each.training.wall_s
            or entry.predictions.latencies_s == each.predictions.latencies_s
        ]
        if problems := [*entry.problems, *copies]:
            flagged.append((file, entry.name, " ".join(_short(problem) for problem in problems[:3])))
        else:
            groups.setdefault((*entry.hardware, entry.target, entry.budget), []).append(entry)
    for group in groups.values():
        group.sort(key=lambda entry: (not entry.ranked, entry.price, entry.name))
    return Board(dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))), flagged, refused)


def marks(group: Sequence[Entry]) -> list[str]:
    """What stands for each entry of a sorted group in the figure: its rank, or (its place) if it has none."""
    return [f"{place}" if entry.ranked else f"({place})" for place, entry in enumerate(group, 1)]


def draw(group: Sequence[Entry]):
    """Draw accuracy against the job's time, or its energy if measured, with front, target and budget."""
    with plt.rc_context():
        plots.style()
        figure, axes = plt.subplots(figsize=(8, 4.2))
        plt.close(figure)
        best = pareto_front(entry for entry in group if not entry.cautions)
        x, y = [entry.price for entry in best], [entry.accuracy for entry in best]
        axes.step(x, y, where="post", color=plots.COLORS["green"], label="Pareto front" if best else None)
        for entry, mark in zip(group, marks(group), strict=True):
            low, high = entry.interval
            ends = [[entry.accuracy - low], [high - entry.accuracy]]
            color = plots.COLORS["blue" if entry.ranked else "orange"]
            fill = "none" if entry.cautions else color
            point = (entry.price, entry.accuracy)
            axes.errorbar(*point, yerr=ends, fmt="o", color=color, markerfacecolor=fill, elinewidth=0.8)
            axes.annotate(mark, point, textcoords="offset points", xytext=(6, 5))
        axes.axhline(group[0].target, color=plots.COLORS["black"], linestyle=":", label="target")
        measured = group[0].method == "measured"
        unit = "energy (Wh, measured)" if measured else "time (in reference trainings)"
        job = f"{unit} for training and {SERVED:,} predictions, logarithmic"
        if not measured:
            axes.axvline(group[0].budget, color=plots.COLORS["black"], linestyle="--", label="budget")
        axes.set(xscale="log", xlabel=job, ylabel="accuracy on hidden rows", title="Up and left is better")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def page(board: Board) -> str:
    """The whole page, by its template. Whatever comes from a receipt is escaped."""
    template = jinja2.Environment(autoescape=True).from_string(PAGE.read_text(encoding="utf-8"))
    names = {"pareto_front": pareto_front, "marks": marks, "remarks": remarks, "image": _image}
    names |= {"digits": significant_digits, "short": _short, "HIDDEN_ROWS": HIDDEN_ROWS, "SERVED": SERVED}
    return template.render(board=board, **names)


def _image(group: Sequence[Entry]) -> str:
    buffer = io.BytesIO()
    draw(group).savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()


def _short(text: str) -> str:
    """One line of text without what cannot be seen, cut where it gets long."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
