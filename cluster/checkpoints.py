"""What a checkpoint was made with, and whether all of it is still there: nothing else is gone on from."""

import hashlib
import json
from pathlib import Path

import safetensors.torch
import torch

from helpers.assets import sha256, wrong_files

NOTE, START = "settings.json", "starting weights"
ADVICE = "Give another folder, or delete that one to start anew."


def weights_digest(model: torch.nn.Module) -> str:
    """SHA-256, in hexadecimal, of the names, shapes, types and values of all that the model saves."""
    return hashlib.sha256(safetensors.torch.save(model.state_dict())).hexdigest()


def seal(folder: Path, made_with: dict) -> None:
    """Note in a whole checkpoint what it was made with, and the SHA-256 sum of each of its files."""
    sums = {path.name: sha256(path) for path in folder.iterdir() if path.name != NOTE}
    (folder / NOTE).write_text(json.dumps({"made_with": made_with, "files": sums}))


def read(folder: Path, made_with: dict) -> None:
    """Raise ValueError if the checkpoint isn't whole, or was made with something else."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file: expected a folder for the checkpoint. Give another name.")
    try:
        found = json.loads((folder / NOTE).read_text())
        before, sums = dict(found["made_with"]), dict(found["files"])
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no checkpoint: there is no {NOTE} in it. {ADVICE}") from None
    except (OSError, ValueError, KeyError, TypeError) as reason:
        damaged = f"The checkpoint {folder} is damaged: {NOTE} is cut, or another's."
        raise ValueError(f"{damaged} {ADVICE}") from reason
    other = [
        f"another {name}" if isinstance(wanted, str) else f"{name} {before.get(name)!r}"
        for name, wanted in made_with.items()
        if before.get(name) != wanted
    ]
    if other:
        was = f"The checkpoint {folder} was made with {', '.join(other)}: not this call's."
        raise ValueError(f"{was} {ADVICE}")
    if wrong := wrong_files(folder, sums):
        raise ValueError(f"The checkpoint {folder} is damaged: {'; '.join(wrong)}. {ADVICE}")
