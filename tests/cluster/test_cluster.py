"""The files in cluster/: started as a learner or Slurm would, on this machine's processor."""

import json
import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from accelerate import Accelerator
from transformers import AutoTokenizer

from cluster import checkpoints, reviews, train
from helpers import assets, data, energy, processes, transformer
from helpers.assets import ROOT
from tests.shared import python

TRAIN, SMALL = "cluster/train.py", ["--rows", "69", "--batch-size", "8", "--steps", "12"]  # 5 are left over
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines=1", "--num_processes=2"]
ACCELERATE += [
    "--dynamo_backend=no",
    "--main_process_port=0",
    "--mixed_precision=bf16",
]  # the last is not ours
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
TORCHRUN += ["--standalone", "--local-addr=127.0.0.1"]
PICKLES = ("optimizer.bin", "scheduler.bin", "random_states_0.pkl", "pytorch_model.bin")
GRADIENT = """
import sys, torch
from cluster import train, worker
worker.spare_memory()
accelerator, model, _, _, batches = train.prepare(train.options(sys.argv[2:]))
input_ids, attention_mask, labels = next(iter(batches(0)))
accelerator.backward(torch.nn.functional.cross_entropy(model(input_ids, attention_mask), labels))
assert "datasets" not in sys.modules, "spare_memory no longer reaches the place where Accelerate looks"
if accelerator.is_main_process:
    named = accelerator.unwrap_model(model).named_parameters()
    torch.save({name: weight.grad for name, weight in named}, sys.argv[1])
accelerator.end_training()
worker.leave()
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun on Windows is another matter")


def losses(lines):
    found = re.findall(r"^step (\d+): loss ([\d.]+)", "\n".join(lines), re.MULTILINE)
    return {int(step): float(loss) for step, loss in found}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The losses of a run in one process, and where its checkpoint is."""
    kept = tmp_path_factory.mktemp("kept")
    return losses(processes.run([sys.executable, TRAIN, *SMALL, "--checkpoint", kept, "--every", "4"])), kept


def test_two_processes_under_accelerate_take_the_same_steps(alone, tmp_path):
    lines = processes.run([*ACCELERATE, "--multi_gpu", TRAIN, *SMALL, "--result", tmp_path / "result.json"])
    assert losses(lines) == pytest.approx(alone[0], abs=1e-4)
    seen = json.loads((tmp_path / "result.json").read_text())
    assert seen["processes"] == 2 and len(seen["losses"]) == 12
    lines = processes.run([*ACCELERATE, "--cpu", TRAIN, *SMALL, "--steps", "1"])
    assert any(line.startswith("process 0 of 1 ") for line in lines), "the trap that texts warn of is gone"


def test_gradients_are_those_of_one_process(tmp_path):
    sentences, model = reviews.read("train", 69), transformer.load(seed=0)
    input_ids, attention_mask, labels = next(iter(reviews.batches(sentences, 8, seed=0)))
    torch.nn.functional.cross_entropy(model(input_ids, attention_mask), labels).backward()
    (tmp_path / "worker.py").write_text(GRADIENT)
    processes.run([*TORCHRUN, tmp_path / "worker.py", tmp_path / "two.pt", *SMALL])
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    one = {name: weight.grad for name, weight in model.named_parameters()}
    assert max(gradient.abs().max() for gradient in one.values()) > 1e-3
    torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-6)


def test_a_killed_worker_ends_the_job_and_it_resumes(alone, tmp_path):
    unfinished = tmp_path / "state" / ".new" / "model.safetensors"  # of an earlier run that was killed
    unfinished.parent.mkdir(parents=True)
    unfinished.write_text("half")
    command = [*TORCHRUN, TRAIN, *SMALL, "--checkpoint", tmp_path / "state", "--every", "4"]
    lines, workers = [], {}
    with processes.Job(command) as job:
        for line in job:
            lines.append(line)
            if match := re.match(r"process (\d) of 2 has the number (\d+)", line):
                workers[match[1]] = int(match[2])
            if line.startswith("step 6:"):
                psutil.Process(workers["1"]).kill()
        everyone = job.processes()
    assert job.returncode == 1 and everyone == [] and "training starts at step 0" in lines
    assert any("SIGKILL" in line for line in lines)
    assert not any(psutil.pid_exists(pid) for pid in workers.values())
    reached = max(losses(lines))
    assert 6 <= reached < 12
    resumed = processes.run(command)
    first = min(losses(resumed))
    assert reached - first < 4 and first in (5, 9), "it went on from the last whole interval"
    both = losses(lines) | losses(resumed)
    assert both == pytest.approx(alone[0], abs=1e-4), "the run is the one that nobody killed"
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-12"]


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(alone, tmp_path, monkeypatch):
    def refused(message, *arguments, folder=alone[1]):
        chosen = train.options([*SMALL, *arguments])
        with pytest.raises(SystemExit, match=f"error: .*{message}.*Give another folder, or delete that one"):
            train.load(None, folder, train.of_this_run(chosen, transformer.load(chosen.seed)))

    refused("step-12 was made with batch_size 8:", "--batch-size", "9")
    refused("step-12 was made with seed 0, another starting weights:", "--seed", "1")
    folder = shutil.copytree(alone[1], tmp_path / "copy")
    (folder / "step-old").mkdir()
    made_with = json.loads((folder / "step-12" / "settings.json").read_text())["made_with"]
    files = [*(folder / "step-12").iterdir()]
    assert {"model.safetensors", "optimizer.bin", "random_states_0.pkl"} < {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        for bad in (b"", content[:-1], content[: len(content) // 2], bytes(len(content))):
            path.write_bytes(bad)
            damaged = f"is damaged: {path.name} (is cut|has SHA-256).*Give another"
            with pytest.raises(ValueError, match=damaged):
                checkpoints.read(path.parent, made_with)
        path.unlink()
        refused("no settings.json" if "set" in path.name else f"{path.name} is missing", folder=folder)
        path.write_bytes(content)
    (tmp_path / "step-20").mkdir()
    refused("step-20 holds no checkpoint", folder=tmp_path)
    first, *others = reviews.read("train", 69)
    monkeypatch.setattr(reviews, "read", lambda *_: [(first[0], 1 - first[1]), *others])
    refused("step-12 was made with another training data:")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit):
        train.options(["--checkpoint", str(tmp_path / "file")])


@pytest.mark.parametrize("name", PICKLES)
def test_no_file_of_a_checkpoint_can_run_code(alone, tmp_path, name):
    """Even of one that agrees with its sums, as a stranger would make it."""

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    crafted = shutil.copytree(alone[1] / "step-12", tmp_path / "step-12")
    torch.save(Trap(), crafted / name)
    if "model" in name:
        (crafted / "model.safetensors").unlink()
    accelerator, model = Accelerator(cpu=True), transformer.load(0)
    optimizer = torch.optim.AdamW(model.parameters())
    accelerator.prepare(model, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0))
    with suppress(Exception):
        accelerator.load_state(str(crafted))
    assert not (tmp_path / "sprung").exists()
    torch.load(crafted / name, weights_only=False)
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_a_shard_is_half_and_computes_the_same():
    lines = processes.run([*TORCHRUN, "cluster/shard.py"])
    seen = [json.loads(line) for line in lines if line.startswith("{")]
    whole, parts = seen[:2], seen[2:]
    assert [each["sharded"] for each in seen] == [False, False, True, True]
    for each in whole:
        assert each["gradients"] == each["weights"] and each["optimizer"] == 2 * each["weights"]
    for kind in ("weights", "gradients", "optimizer"):
        assert sum(each[kind] for each in parts) == whole[0][kind], "together they hold it all, once"
        assert max(each[kind] for each in parts) < 0.52 * whole[0][kind]
    for one, other in zip(whole, parts, strict=True):
        assert other["losses"] == pytest.approx(one["losses"], abs=1e-4)


def test_slurm_starts_one_launcher_a_machine_and_they_meet(tmp_path):
    """The real script, with a `srun` that starts both nodes' tasks here, and a head called localhost."""
    text = (ROOT / "cluster/train.slurm").read_text()
    assert "#SBATCH --ntasks-per-node=1\n" in text
    assert 'srun --cpus-per-task="$CORES" ' in text, "since Slurm 22.05 srun doesn't ask for them by itself"
    assert not re.search(r"--rdzv-endpoint=\S*:\d", text), "a fixed port is someone else's"
    tools = {
        "scontrol": "echo localhost\necho localhost",
        "srun": 'while [[ "$1" == --* ]]; do shift; done\n"$@" & first=$!\n"$@" & second=$!\n'
        "wait $first && wait $second",
        "torchrun": f'exec "{sys.executable}" -m torch.distributed.run --local-addr=127.0.0.1 "$@"',
        "python": f'exec "{sys.executable}" "$@"',
    }
    for name, text in tools.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    out = tmp_path / "out"
    slurm = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "OUT": str(out), "OMP_NUM_THREADS": "1"}
    command = ["env", *(f"{key}={value}" for key, value in (slurm | variables).items())]
    lines = processes.run([*command, "bash", "cluster/train.slurm", *SMALL])
    met = {line.split(" has")[0] for line in lines if " has the number " in line}
    assert met == {"process 0 of 2", "process 1 of 2"}
    assert json.loads((out / "result.json").read_text())["processes"] == 2
    assert (out / "checkpoint" / "step-10").is_dir()
    readings = [energy.Reading.from_raw(json.loads(p.read_text())) for p in (out / "energy").glob("*.json")]
    assert [reading.machine for reading in readings] == 2 * [energy.machine_id()]
    done = python("cluster/total.py", out / "energy")
    assert done.returncode == 1 and "would count twice" in done.stderr, "two machines that are one"


def test_settings_that_make_no_step_are_refused(capsys):
    with pytest.raises(SystemExit):
        train.options(["--rows", "8", "--batch-size", "9"])
    assert "--batch-size is 9: expected 1 to 8, the --rows" in capsys.readouterr().err
    with pytest.raises(data.DataError, match=r"rows is 20,000: expected 7,070 at most, as train.csv has no"):
        reviews.read("train", 20_000)


def test_a_workers_tokens_are_those_of_the_tokenizer_and_a_pass_sees_none_twice():
    tokenizer = AutoTokenizer.from_pretrained(assets.resolve_model("pocket-bert"))
    rows = data.take(data.load_reviews("train"), 50)
    expected, ours = data.tokenize(rows, tokenizer, max_length=64), reviews.read("train", 50)
    assert [ids.tolist() for ids, _ in ours] == expected["input_ids"][:]
    assert [label for _, label in ours] == expected["label"][:]
    rows = [(torch.tensor([row]), 0) for row in range(10)]
    orders = [[ids.flatten().tolist() for ids, *_ in reviews.batches(rows, 4, seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert [len(batch) for batch in orders[0]] == [4, 4] and len({*orders[0][0], *orders[0][1]}) == 8
