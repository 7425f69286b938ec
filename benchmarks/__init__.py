"""What records the long runs, a script named as its receipt, and what measures the course against its peers."""

import os
from pathlib import Path

import torch
import transformers

from helpers import assets, machine, receipts, training

COUNTRY = "USA"


def begin() -> None:
    """What each script starts with: all cores, and no progress bars."""
    torch.set_num_threads(machine.cores())
    os.environ["COURSE_STATIC"] = "1"
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


def precision() -> str:
    """What `training.fine_tune` computes in on this machine, in words: "fp32" or "bf16"."""
    best = training.best_precision()
    return "fp32" if best == "no" else best


def still_holds(receipt: dict) -> bool:
    """Whether runs made now may stand beside those of the receipt: the same machine and the same data."""
    return receipt["hardware"].items() <= machine.hardware().items() and all(
        assets.sha256(assets.ROOT / name) == was for name, was in receipt["inputs"].items()
    )


def recorded(path: Path) -> receipts.Replay | None:
    """The receipt of an earlier call if it still holds: what it has already isn't made again."""
    if not path.is_file():
        return None
    again = receipts.replay(path)
    return again if still_holds(again.receipt) else None
