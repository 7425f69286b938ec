"""The class's receipts as one HTML page: checked, grouped by hardware, ranked within a group only.

`capstone.submission` says what a check of a receipt catches, and what it can't.
"""

from __future__ import annotations

import base64
import glob
import io
import os
import string
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from capstone import submission
from capstone.submission import Entry
from helpers import energy, receipts
from helpers.energy.records import html_table

LONGEST = 240  # letters of anything that a stranger's file brings along

PAGE = string.Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Watt It Takes: leaderboard</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: 0.3rem 0.7rem; text-align: left; vertical-align: top; }
td:nth-child(2) { min-width: 9rem; overflow-wrap: anywhere; }
img { max-width: 100%; }
h2 { margin-top: 2.5rem; }
</style>
</head>
<body>
<h1>Leaderboard</h1>
$body
</body>
</html>
""")
HOW_TO_READ = (
    "Who reached the target within the budget is ranked by the energy of the whole job, least first. "
    "Energies compare within one kind of hardware only, so each has its own table. A single run decides "
    "little: a few percent of energy, or two points of accuracy, may turn around tomorrow."
)
WHAT_A_FLAG_SAYS = (
    "A flag says that a receipt does not agree with itself, with the course's data or with another receipt. "
    "It doesn't say who changed what, or why: ask. And no flag is no proof: samples made up with care agree."
)


@dataclass(frozen=True)
class Board:
    """Receipts, sorted into those that count and those that don't.

    Attributes
    ----------
    groups : dict of (str, str) to list of Entry
        By hardware and task, best first.
    flagged : list of (str, str, str)
        File, name, and what does not agree.
    refused : list of (str, str)
        File, and why it is no entry.
    repeated : list of (str, str)
        File, and the file that is the same.
    """

    groups: dict[tuple[str, str], list[Entry]]
    flagged: list[tuple[str, str, str]]
    refused: list[tuple[str, str]]
    repeated: list[tuple[str, str]]

    def __str__(self) -> str:
        count = sum(map(len, self.groups.values()))
        lines = [
            f"{count} {'entry' if count == 1 else 'entries'} in {len(self.groups)} "
            f"group{'' if len(self.groups) == 1 else 's'}, {len(self.flagged)} flagged, "
            f"{len(self.refused)} refused"
        ]
        lines += [f"flagged  {file} ({name}): {why}" for file, name, why in self.flagged]
        lines += [f"refused  {file}: {why}" for file, why in self.refused]
        lines += [f"repeated {file}: the same receipt as {other}" for file, other in self.repeated]
        return "\n".join(lines)


def leaderboard(patterns: Sequence[str], output: str | Path = "leaderboard.html") -> Board:
    """Read receipts and write the page, in one piece.

    Parameters
    ----------
    patterns : sequence of str
        Files; `*` is understood where the shell left it.
    output : path
        The page, a .html file.

    Raises
    ------
    CapstoneError
        If no file is there, or `output` would replace something else than a page. Nothing is written then.
    """
    paths = find(patterns)
    output = Path(output)
    if output.suffix not in (".html", ".htm"):
        raise submission.CapstoneError(f"--output is {output.name!r}: expected a file that ends in .html.")
    board = sort(paths)
    new = output.with_name(f".{output.name}.new")
    try:
        new.write_text(page(board), encoding="utf-8", newline="\n")
        new.replace(output)
    finally:
        new.unlink(missing_ok=True)
    return board


def find(patterns: Sequence[str]) -> list[Path]:
    """The files that names and patterns stand for, each once, in order.

    Raises
    ------
    CapstoneError
        If one of them stands for no file.
    """
    found: dict[Path, None] = {}
    absent = []
    for pattern in patterns:
        matches = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern))
        absent += [] if matches else [pattern]
        found |= dict.fromkeys(path for path in map(Path, matches) if path.is_file())  # a * names folders too
    if absent or not found:
        raise submission.CapstoneError(
            f"There is no file {', '.join(absent or patterns)}: expected receipts of the capstone, such as "
            "receipts/*.json."
        )
    return list(found)


def sort(paths: Sequence[Path]) -> Board:
    """Read every receipt, and say where it belongs."""
    read: dict[tuple[str, str], tuple[str, Entry]] = {}
    refused, repeated = [], []
    repeats = len({path.name for path in paths}) < len(paths)  # mine.json, each in a folder of its own
    top = os.path.commonpath([path.absolute().parent for path in paths]) if repeats else None
    for path in paths:
        file = _short(path.absolute().relative_to(top).as_posix() if repeats else path.name)
        try:
            entry = submission.read(path)
            if entry.job_wh is None:
                refused.append((file, _short(f"Its energy is unknown, which is not 0: {entry.unknown}")))
                continue
            key = receipts.digest(entry.receipt), entry.receipt["digest"]
            if key in read:
                repeated.append((file, read[key][0]))
            else:
                read[key] = (file, entry)
        except Exception as error:  # a stranger's file may hold anything, and must not stop the others
            known = isinstance(error, ValueError)
            refused.append((file, _short(str(error) if known else f"{type(error).__name__}: {error}")))
    groups: dict[tuple[str, str], list[Entry]] = {}
    flagged = []
    for file, entry in read.values():
        # An edited copy is flagged for its edit, and is no reason to doubt the original.
        others = [each for each in read.values() if each[1] is not entry and not each[1].problems]
        problems = [*entry.problems, *_copies(entry, others)]
        if problems:
            flagged.append((file, entry.name, " ".join(_short(problem) for problem in problems[:3])))
        else:
            groups.setdefault((entry.hardware, entry.task), []).append(entry)
    for group in groups.values():
        group.sort(key=lambda entry: (not counts(entry), entry.job_wh, entry.name))
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return Board(dict(ordered), flagged, refused, repeated)


def counts(entry: Entry) -> bool:
    """Whether an entry gets a rank: target reached, budget kept, measured alone and long enough."""
    return entry.reached and entry.within and not entry.cautions


def remarks(entry: Entry) -> list[str]:
    """Why an entry has no rank."""
    missed = [] if entry.reached else ["missed the target"]
    missed += [] if entry.within else ["over the budget"]
    return missed + ([f"no rank: {'; '.join(entry.cautions)}"] if entry.cautions else [])


def marks(group: Sequence[Entry]) -> list[str]:
    """What stands for each entry in the figure: its rank, or a letter."""
    ranked = sum(map(counts, group))
    letters = [first + last for first in ("", *string.ascii_lowercase) for last in string.ascii_lowercase]
    rest = letters[: len(group) - ranked] + ["?"] * (len(group) - ranked - len(letters))
    return [*map(str, range(1, ranked + 1)), *rest]


def draw(group: Sequence[Entry]):
    """Draw accuracy against the job's energy, with the Pareto front, the target and the budget.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    from helpers import plots

    with plt.rc_context():
        plots.style()
        figure, axes = plt.subplots(figsize=(8, 4.2))
        plt.close(figure)
        best = front(group)
        x, y = [entry.job_wh for entry in best], [entry.accuracy for entry in best]
        axes.step(x, y, where="post", color=plots.COLORS["green"], label="Pareto front" if best else None)
        for entry, mark in zip(group, marks(group), strict=True):
            low, high = entry.interval
            ends = [[entry.accuracy - low], [high - entry.accuracy]]
            color = plots.COLORS["blue" if counts(entry) else "orange"]
            fill = "none" if entry.cautions else color
            point = (entry.job_wh, entry.accuracy)
            axes.errorbar(*point, yerr=ends, fmt="o", color=color, markerfacecolor=fill, elinewidth=0.8)
            axes.annotate(mark, point, textcoords="offset points", xytext=(6, 5))
        axes.axhline(group[0].target, color=plots.COLORS["black"], linestyle=":", label="target")
        axes.axvline(group[0].budget_wh, color=plots.COLORS["red"], linestyle="--", label="budget")
        method = max((entry.method for entry in group), key=energy.METHODS.index)
        job = f"Wh for training and {submission.SERVED:,} predictions ({method}), logarithmic"
        axes.set(xscale="log", xlabel=job, ylabel="accuracy on the hidden rows")
        axes.set_title("Up and to the left is better")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def front(group: Sequence[Entry]) -> list[Entry]:
    """The Pareto front of the entries that were measured alone and long enough."""
    return submission.front([entry for entry in group if not entry.cautions])


def page(board: Board) -> str:
    """The whole page. Whatever comes from a receipt is escaped."""
    parts = [f"<p>{HOW_TO_READ}</p>"]
    for (hardware, task), group in board.groups.items():
        machine = group[0].machine
        ways = hardware.removeprefix(f"{machine}: ")
        parts.append(f"<h2>{escape(_short(machine))}</h2>")
        parts.append(f"<p>The task: {escape(task)}. The energy: {escape(_short(ways))}.</p>")
        parts += [_table(group), _image(group)]
    if not board.groups:
        parts.append("<p>No receipt here counts; the reasons are below.</p>")
    if board.flagged:
        parts += ["<h2>Flagged</h2>", f"<p>{WHAT_A_FLAG_SAYS}</p>"]
        parts.append(html_table(("file", "name", "what does not agree"), board.flagged))
    if board.refused:
        parts += ["<h2>Refused</h2>", html_table(("file", "why"), board.refused)]
    if board.repeated:
        parts += ["<h2>Given twice</h2>", html_table(("file", "the same receipt as"), board.repeated)]
    return PAGE.substitute(body="\n".join(parts))


def _table(group: Sequence[Entry]) -> str:
    head = ("rank", "name", "accuracy", "energy of the job", "training", "1,000 predictions", "remarks")
    best, rows = front(group), []
    for entry, mark in zip(group, marks(group), strict=True):
        ends = [f"{end:.1%}" for end in entry.interval]
        low, high = (energy.digits(end) for end in entry.job_range_wh)
        rows.append(
            (
                mark,
                entry.name,
                f"{entry.accuracy:.1%} ({' to '.join(ends)})",
                f"{energy.digits(entry.job_wh)} Wh {entry.method} ({low} to {high})",
                f"{energy.digits(entry.train_wh)} Wh",
                f"{energy.digits(entry.predictions.joules)} J",
                "; ".join(["on the Pareto front"] * (entry in best) + remarks(entry)),
            )
        )
    return html_table(head, rows)


def _image(group: Sequence[Entry]) -> str:
    buffer = io.BytesIO()
    draw(group).savefig(buffer, format="png", dpi=110)
    points = ", ".join(
        f"{mark} {entry.name}: {entry.accuracy:.1%} for {energy.digits(entry.job_wh)} Wh"
        for entry, mark in zip(group, marks(group), strict=True)
    )
    alt = f"Accuracy against the energy of the job, one point an entry. {points}."
    picture = base64.b64encode(buffer.getvalue()).decode()
    shown = "Numbers are ranks; letters have none. A hollow point was measured beside others or too briefly."
    return f'<img src="data:image/png;base64,{picture}" alt="{escape(alt)}"><p>{shown}</p>'


def _copies(entry: Entry, others: Sequence[tuple[str, Entry]]) -> list[str]:
    """Other receipts with this one's samples."""
    return [
        f"Its samples are those of {file}: no two runs take the same time to the last digit."
        for file, other in others
        if entry.training.wall_s == other.training.wall_s
        or entry.predictions.latencies_s == other.predictions.latencies_s
    ]


def _short(text: str) -> str:
    """One line of text without what cannot be seen, cut where it gets long."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
