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
    which = f"The checkpoint {folder}"
    try:
        found = json.loads((folder / NOTE).read_text())
        before, sums = dict(found["made_with"]), dict(found["files"])
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no checkpoint: there is no {NOTE} in it. {ADVICE}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as reason:
        raise ValueError(f"{which} is damaged: {NOTE} is cut, or another's. {ADVICE}") from reason
    other = {name: wanted for name, wanted in made_with.items() if before.get(name) != wanted}
    if shown := [f"another {n}" if isinstance(other[n], str) else f"{n} {before.get(n)!r}" for n in other]:
        raise ValueError(f"{which} was made with {', '.join(shown)}: not this call's. {ADVICE}")
    if wrong := wrong_files(folder, sums):
        raise ValueError(f"{which} is damaged: {'; '.join(wrong)}. {ADVICE}")
