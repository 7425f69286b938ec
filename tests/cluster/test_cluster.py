"""The files in cluster/: started as a learner or Slurm would, on this machine's processor."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from helpers import energy, processes

ROOT = Path(__file__).resolve().parent.parent
TRAIN, SMALL = "cluster/train.py", ["--rows", "69", "--batch-size", "8", "--steps", "30"]  # 5 are left over
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines=1", "--mixed_precision=no"]
ACCELERATE += ["--dynamo_backend=no", "--main_process_port=0", "--num_processes=2"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
TORCHRUN += ["--standalone", "--local-addr=127.0.0.1"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun on Windows is another matter")


def losses(lines):
    """Read the loss of every step that was printed."""
    found = (re.match(r"step (\d+): loss ([\d.]+)", line) for line in lines)
    return {int(match[1]): float(match[2]) for match in found if match}


@pytest.fixture(scope="module")
def alone():
    return losses(processes.run([sys.executable, TRAIN, *SMALL]))


def test_two_processes_under_accelerate_take_the_same_steps(alone, tmp_path):
    result = tmp_path / "result.json"
    lines = processes.run([*ACCELERATE, "--multi_gpu", TRAIN, *SMALL, "--result", result])
    assert losses(lines) == pytest.approx(alone, abs=1e-4)
    seen = json.loads(result.read_text())
    assert seen["processes"] == 2 and len(seen["losses"]) == 30


def test_accelerate_with_cpu_starts_one_process_only():
    """The trap that “Scale out” and the README warn of; when this fails, take the warning out."""
    lines = processes.run([*ACCELERATE, "--cpu", TRAIN, *SMALL, "--steps", "1"])
    assert any(line.startswith("process 0 of 1 ") for line in lines)


def test_gradients_are_those_of_one_process(tmp_path):
    import torch

    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    processes.run([sys.executable, "tests/gradient_worker.py", one, *SMALL])
    processes.run([*TORCHRUN, "tests/gradient_worker.py", two, *SMALL])
    one, two = torch.load(one), torch.load(two)
    assert one.keys() == two.keys() and len(one) > 30
    largest = max(gradient.abs().max() for gradient in one.values())
    assert largest > 1e-3
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-6, msg=name)


def test_a_killed_worker_ends_the_job_and_it_resumes(alone, tmp_path):
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
    assert job.returncode == 1 and everyone == []
    assert any("SIGKILL" in line for line in lines)
    assert not any(psutil.pid_exists(pid) for pid in workers.values())
    reached = max(losses(lines))
    assert 6 <= reached < 30

    resumed = processes.run(command)
    first = min(losses(resumed))
    assert "training starts at step" in "\n".join(resumed)
    assert reached - (first - 1) <= 4, "more than one interval was lost"
    assert (first - 1) % 4 == 0 and first > 1
    both = losses(lines) | losses(resumed)
    assert both == pytest.approx(alone, abs=1e-4), "the run is the one that nobody killed"
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-28"]


def test_an_unfinished_checkpoint_is_not_read(tmp_path):
    (tmp_path / ".new").mkdir()
    (tmp_path / ".new" / "model.safetensors").write_text("half")
    lines = processes.run(
        [sys.executable, TRAIN, *SMALL, "--steps", "2", "--every", "2", "--checkpoint", tmp_path]
    )
    assert "training starts at step 0" in lines
    assert [path.name for path in tmp_path.iterdir()] == ["step-2"]


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
    for process in (0, 1):
        assert parts[process]["losses"] == pytest.approx(whole[process]["losses"], abs=1e-4)


def test_slurm_starts_one_launcher_a_machine_and_they_meet(tmp_path):
    """The real script, with a `srun` that starts both nodes' tasks here, and a head called localhost."""
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
    assert {line.split(" has")[0] for line in lines if " has the number " in line} == {
        "process 0 of 2",
        "process 1 of 2",
    }
    assert json.loads((out / "result.json").read_text())["processes"] == 2
    assert (out / "checkpoint" / "step-30").is_dir()
    readings = [energy.Reading.from_raw(json.loads(p.read_text())) for p in (out / "energy").glob("*.json")]
    assert [reading.machine for reading in readings] == 2 * [energy.machine_id()]
    total = [sys.executable, "cluster/total.py", out / "energy"]
    done = subprocess.run(total, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "would count twice" in done.stderr, "two machines that are one"


def test_the_slurm_script_parses_and_asks_for_one_task_a_machine():
    text = (ROOT / "cluster/train.slurm").read_text()
    subprocess.run(["bash", "-n", ROOT / "cluster/train.slurm"], check=True)
    assert "#SBATCH --ntasks-per-node=1\n" in text
    assert 'srun --cpus-per-task="$CORES" ' in text, "since Slurm 22.05 srun doesn't ask for them by itself"
    assert not re.search(r"--rdzv-endpoint=\S*:\d", text), "a fixed port is someone else's"


METERED = [sys.executable, "cluster/metered.py", "--country", "USA", "--folder"]
SLEEP = ["--", sys.executable, "-c", "import time; print('asleep', flush=True); time.sleep(60)"]


def asleep(folder):
    """Start a metered command, and wait until it works."""
    process = subprocess.Popen([*METERED, folder, *SLEEP], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "asleep\n"
    return process, psutil.Process(process.pid).children()


def total(folder):
    return subprocess.run(
        [sys.executable, "cluster/total.py", folder], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize("request_to_end", ["terminate", "interrupt"])
def test_a_meter_that_is_asked_to_end_leaves_its_reading(request_to_end, tmp_path):
    process, children = asleep(tmp_path)
    process.send_signal({"terminate": signal.SIGTERM, "interrupt": signal.SIGINT}[request_to_end])
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert not any(child.is_running() for child in children)
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
    assert total(tmp_path).returncode == 0


def test_a_meter_that_was_killed_makes_the_sum_unknown(tmp_path):
    subprocess.run(
        [*METERED, tmp_path, "--", sys.executable, "-c", "import time; time.sleep(1)"], cwd=ROOT, check=True
    )
    process, children = asleep(tmp_path)
    process.kill()
    process.wait()
    for child in children:
        child.kill()
    done = total(tmp_path)
    assert done.returncode == 1 and "1 reading of 1 machine" in done.stdout.replace("readings", "reading")
    assert re.search(r"used more, and nobody knows how much: \S+ began and left no reading", done.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "8", "--batch-size", "9"], "--batch-size is 9: expected 1 to 8, the --rows"),
        (["--rows", "20000"], "rows is 20,000: expected 7,070 at most, as train.csv has no more"),
    ],
)
def test_settings_that_make_no_step_are_refused(arguments, message):
    done = subprocess.run([sys.executable, TRAIN, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode and message in done.stderr


def test_every_file_that_the_readme_names_is_there():
    text = (ROOT / "cluster/README.md").read_text()
    named = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", text))
    assert named and all((ROOT / "cluster" / name).exists() for name in named)


def test_the_grid_leaves_a_receipt_for_each_setting(tmp_path):
    from helpers import receipts

    processes.run([sys.executable, "cluster/grid.py", "--folder", tmp_path, "--rows", "200"])
    found = [receipts.load(path) for path in tmp_path.glob("*.json")]
    settings = {(receipt["settings"]["strength"], receipt["settings"]["longest"]) for receipt in found}
    assert settings == {(1.0, 1), (1.0, 2), (10.0, 1), (10.0, 2)}
    assert all(receipts.replay(receipt).ok for receipt in found)


def test_a_setting_that_fails_says_why(tmp_path):
    with pytest.raises(processes.JobError, match="DataError: train_rows is 0"):
        processes.run([sys.executable, "cluster/grid.py", "--folder", tmp_path, "--rows", "0"])


def test_the_grid_runs_on_a_dask_cluster(tmp_path):
    distributed = pytest.importorskip("distributed", reason="pip install -e '.[cluster]'")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        command = [sys.executable, "cluster/grid.py", "--folder", tmp_path, "--rows", "200"]
        processes.run([*command, "--scheduler", address])
    assert len(list(tmp_path.glob("*.json"))) == 4
