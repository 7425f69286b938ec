"""Show which exercises were passed here, and what is next; or, of the files of a class, one table."""

import argparse
import glob
import re
from collections import Counter
from pathlib import Path

from exercises.progress import KEPT, ROOT, read
from helpers import machine

COURSE = {  # of each exercise, in order, its notebook's file name and title
    f"{path.stem[3:]}.{name}": (path.name, re.search(r'"# ([^"\\]+)', text)[1])
    for path in sorted(ROOT.glob("notebooks/[0-9][0-9]_*.ipynb"))
    for text in [path.read_text(encoding="utf-8")]
    for name in re.findall(r"check\.(\w+)\(answer\)", text)
}
NOTEBOOKS = Counter(COURSE.values())  # how many exercises each has


def mine(path: Path = KEPT) -> list[str]:
    """Say what was passed and when, what is next, and which file keeps that."""
    (passed, wrong), lines = read(path), []
    for notebook, of in NOTEBOOKS.items():
        done = [each for each in COURSE if each in passed and COURSE[each] == notebook]
        lines += [f"{notebook[1]:24} {len(done)}/{of}"]
        lines += [f"  {each.split('.')[1]:22} {passed[each]}" for each in done]
    ahead = [f"Next: {each.split('.')[1]}, in {COURSE[each][0]}" for each in COURSE if each not in passed]
    note = f"{path.name}: {wrong}" if wrong and path.exists() else ""
    lines += [note, [*ahead, "Every exercise is passed."][0]]
    return [*lines, f"To hand it in, copy {path} under your name, such as ann.json."]


def table(files: list[str]) -> list[str]:
    """Show how much of each notebook each file has, and what to take up in class."""
    lines, missed = [" ".join(f"{name[:2]:>3}" for name, _ in NOTEBOOKS) + "  total"], Counter()
    for name in sorted(each for file in files for each in glob.glob(file) or [file]):
        passed, wrong = read(Path(name))
        done = Counter(COURSE[each] for each in COURSE if each in passed)
        cells = " ".join(f"{done[each]}/{of}" for each, of in NOTEBOOKS.items())
        row = wrong or f"{cells} {done.total():>3}/{len(COURSE)}"
        lines.append(f"{row:>{len(lines[0])}}  {name}")
        missed.update(each for each in COURSE if done[COURSE[each]] and each not in passed)
    for each, count in missed.most_common(1):
        lines += [f"Take up in class: {each}, open for {count} who passed another exercise of its notebook."]
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m exercises", description=__doc__)
    parser.add_argument("command", choices=["progress"], help="what was passed, and what is next")
    parser.add_argument("files", nargs="*", help="what learners handed in, such as class/*.json")
    machine.escape_unprintable()
    files = parser.parse_args().files
    print("\n".join(table(files) if files else mine()))
