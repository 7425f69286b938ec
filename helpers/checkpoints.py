"""What a checkpoint was made with, and whether all of it is still there: nothing else is gone on from."""

import functools
import hashlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from helpers.assets import sha256, wrong_files

NOTE, START = "settings.json", "starting weights"
# What loading, saving and even a first batch write into a configuration, and what is no part of the network.
NOT_THE_NETWORK = ("transformers_version", "architectures", "dtype", "problem_type", "_name_or_path")
ADVICE = "Give another folder, or delete that one to start anew."


def digest(*parts: object) -> str:
    """SHA-256, in hexadecimal, of what Python writes for numbers, strings, and lists of them."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def model_digest(model: torch.nn.Module) -> str:
    """Of the modules, the configuration and the names of what is trained; the values are no part of it."""
    config: dict = getattr(getattr(model, "config", None), "to_dict", dict)()
    shape = {name: value for name, value in config.items() if name not in NOT_THE_NETWORK}
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    return digest(repr(model), json.dumps(shape, sort_keys=True, default=str), trained)


def weights_digest(model: torch.nn.Module) -> str:
    """Of the names, shapes, types and values of all that the model saves."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def function_digest(function: Callable) -> str:
    """Of the source, and of the numbers and words given to make the function; no more of it can be known."""
    given: dict[str, Any] = {}
    if isinstance(function, functools.partial):
        given, function = function.keywords, function.func
    try:
        source = inspect.getsource(function)
        if "nonlocal" not in source:  # such as a counter, which another call finds at another value
            given = {**given, **inspect.getclosurevars(function).nonlocals}
    except (OSError, TypeError):  # a callable object, or a function that was typed into a plain prompt
        source = getattr(function, "__qualname__", type(function).__qualname__)
    return digest(source, [(k, given[k]) for k in sorted(given) if isinstance(given[k], int | float | str)])


def seal(folder: Path, made_with: dict, **more: Any) -> None:
    """Note in a whole checkpoint what it was made with, and the SHA-256 sum of each of its files."""
    sums = {path.name: sha256(path) for path in folder.iterdir() if path.name != NOTE}
    (folder / NOTE).write_text(json.dumps({"made_with": made_with, "files": sums, **more}))


def read(folder: Path, made_with: dict, error: type[ValueError] = ValueError) -> dict:
    """What `seal` noted, if the checkpoint is whole and was made with the same; `error` if it isn't.

    A model that was interrupted holds the weights that were saved, and `made_with` then gets those before.
    """
    if not folder.is_dir():
        raise error(f"{folder} is a file: expected a folder for the checkpoint. Give another name.")
    try:
        found = json.loads((folder / NOTE).read_text())
        before, sums = dict(found["made_with"]), dict(found["files"])
    except FileNotFoundError:
        raise error(f"{folder} holds no checkpoint: there is no {NOTE} in it. {ADVICE}") from None
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise error(f"The checkpoint {folder} is damaged: {NOTE} is cut, or another's. {ADVICE}") from reason
    if START in before and made_with[START] == found.get("weights"):
        made_with[START] = before[START]
    other = [
        f"another {name}" if isinstance(wanted, str) else f"{name} {before.get(name)!r}"
        for name, wanted in made_with.items()
        if before.get(name) != wanted
    ]
    if other:
        raise error(f"The checkpoint {folder} was made with {', '.join(other)}: not this call's. {ADVICE}")
    if wrong := wrong_files(folder, sums):
        raise error(f"The checkpoint {folder} is damaged: {'; '.join(wrong)}. {ADVICE}")
    return found
