"""What records the long runs, a script named as its receipt, and what measures the course's speed.

A receipt's runs of the same settings, machine and data are kept: a call goes on. Delete it to begin anew.
"""

import argparse
import datetime
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
import transformers

from helpers import assets, machine, receipts, training

COUNTRY, RECEIPTS = "USA", assets.DATA / "receipts"
TODAY = datetime.date.today().isoformat()  # of the runs that begin now


def begin(about: str = "") -> None:
    """What each script starts with: all cores it may use, no progress bars, no sign that can't be printed.

    A script without options gives its docstring: `--help` shows it, and any argument is refused.
    """
    machine.escape_unprintable()
    if about:
        argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(machine.cores())
    os.environ["COURSE_STATIC"] = "1"
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


def precision() -> str:
    """What our loop computes in on this machine; processors of one name can differ in it."""
    return training.best_precision().replace("no", "fp32")


def save(path: Path, script: str, what: str, files: Iterable, settings: Mapping, details: Mapping) -> None:
    """Write a script's receipt: its files are named within data/, its settings get our loop's precision."""
    settings = {"precision": precision(), **settings}
    inputs, made_by = [assets.DATA / name for name in files], f"python -m {script}"
    receipt = receipts.make(what, {}, made_by=made_by, inputs=inputs, settings=settings, details=details)
    receipts.save(receipt, path)


def recorded(path: Path) -> tuple[dict, dict]:
    """Details and settings of an earlier call's receipt, if runs made now may stand beside its own.

    That takes the same machine and the same data. Otherwise there are no runs, and no settings.
    """
    if path.is_file():
        again = receipts.replay(path)
        files = again.receipt["inputs"].items()
        same_data = all(assets.sha256(assets.ROOT / name) == was for name, was in files)
        same_kind = again.receipt["settings"].get("precision", precision()) == precision()
        if same_data and same_kind and again.receipt["hardware"].items() <= machine.hardware().items():
            return again.details, again.receipt["settings"]
    return {"runs": []}, {}


def record(found: dict, plan: Iterable, keys: tuple, make: Callable, keep: Callable, part="runs") -> None:
    """Make what of the plan is not in `found` yet; keep all after each, in case of an interrupt."""
    runs = found.setdefault(part, [])
    done = [tuple(run[key] for key in keys) for run in runs]
    for each in plan:
        if each not in done:
            run = dict(zip(keys, each, strict=True)) | {"date": TODAY} | make(*each)
            numbers = (f"{name} {value:.3g}" for name, value in run.items() if isinstance(value, float))
            print(*each, *numbers, run["cost"], sep=" | ", flush=True)
            runs.append(run)
            keep(found)
