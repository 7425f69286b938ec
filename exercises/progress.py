"""When each exercise was first passed: one file, which stays on this machine."""

import json
import os
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from helpers.values import replacing

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "progress.json"
DAMAGED = "damaged, or no list of passed exercises"
SOLUTION = "# Solution", "# @title Solution"  # how the cells begin that count for no one


def keep(exercise: str) -> None:
    """Note when a learner's own cell first passed an exercise; where that can't be, nothing is said."""
    with suppress(Exception):  # no IPython, a folder that is read-only: the lesson goes on
        cell = sys.modules["IPython"].get_ipython().history_manager.input_hist_raw[-1]
        if cell.startswith(SOLUTION) or os.environ.get("COURSE_STATIC") == "1":
            return
        passed, wrong = read(KEPT)
        if wrong == DAMAGED:
            KEPT.replace(KEPT.with_suffix(".damaged.json"))
        if exercise not in passed and not (wrong and KEPT.exists()):
            with replacing(KEPT) as new:
                passed[exercise] = f"{datetime.now():%Y-%m-%d %H:%M}"
                new.write_text(json.dumps(passed, indent=1), encoding="utf-8")


def read(path: Path) -> tuple[dict[str, str], str]:
    """Read when each exercise was passed, and what is wrong with the file; where something is, none was."""
    try:
        passed = json.loads(path.read_text(encoding="utf-8-sig"))
        return {exercise: when.strip() for exercise, when in passed.items()}, ""
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        return {}, getattr(error, "strerror", None) or DAMAGED
