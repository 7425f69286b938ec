"""Try the course as Colab runs it: ``python -m tests.environments.colab FOLDER [notebook ...]``.

An environment in FOLDER gets the versions that Colab publishes, and a stand-in for `google.colab`. Each
notebook is then opened alone, as from its link, in a folder that stands for /content: its set-up cell clones
the last commit and installs what is missing, and the rest runs in the quick profile. It is an error if one
fails, or if a package that was there has another version afterward.

PyPI's torch brings 3 GB of CUDA on Linux. An environment that is at FOLDER/venv already is used as it is.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.environments.__main__ import COLAB, when, write
from tools import notebooks, runner
from tools.notebooks import ADDRESS, ROOT, TAG

PINS = Path(__file__).with_name("colab.txt")  # what Colab has
SHELL = '''"""A stand-in for Colab's kernel: a notebook knows Colab by the name of its shell."""

from ipykernel import ipkernel, zmqshell
from traitlets import Type

Shell = type("Shell", (zmqshell.ZMQInteractiveShell,), {"__module__": __name__})

class Kernel(ipkernel.IPythonKernel):
    shell_class = Type(Shell)
'''


def make(folder: Path) -> Path:
    """Make the environment, with its stand-in and its kernel, and what git clones; return its Python."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        newest = shutil.which("python3.13") or sys.executable
        subprocess.run([newest, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", PINS], check=True)
    colab = next(folder.glob("venv/lib/python3*/site-packages")) / "google" / "colab"
    kernel, origin = folder / "jupyter" / "kernels" / "python3", folder / "origin"
    for needed in (colab, kernel, folder / "home", folder / "executed"):
        needed.mkdir(parents=True, exist_ok=True)
    (colab / "__init__.py").touch()
    (colab / "_shell.py").write_text(SHELL, encoding="utf-8")
    argv = [str(python), "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    argv += ["--IPKernelApp.kernel_class=google.colab._shell.Kernel"]
    (kernel / "kernel.json").write_text(json.dumps({**notebooks.KERNEL, "argv": argv}), encoding="utf-8")
    shutil.rmtree(origin, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, origin], check=True)
    subprocess.run(["git", "-C", origin, "tag", "--force", TAG], check=True, stdout=subprocess.DEVNULL)
    return python


def surround(folder: Path) -> None:
    """Set the variables that Colab sets, a home of its own, and where git finds the published address."""
    for name in ("COURSE_STATIC", "PYTHONPATH"):
        os.environ.pop(name, None)
    os.environ |= {
        "COLAB_RELEASE_TAG": "release-colab",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "HOME": str(folder / "home"),
        "JUPYTER_PATH": str(folder / "jupyter"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{(folder / 'origin').as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }


def versions(python: Path) -> set[str]:
    """List the packages of an environment, each with its version."""
    return {*subprocess.check_output([python, "-m", "pip", "list", "--format=freeze"], text=True).split()}


def execute(path: Path, folder: Path, parameters: dict[str, object] | None) -> runner.Outcome:
    """Open one notebook alone, in a folder that stands for /content, and execute it."""
    content = folder / "content" / path.stem
    shutil.rmtree(content, ignore_errors=True)
    content.mkdir(parents=True)
    text = path.read_text(encoding="utf-8").replace("%cd -q /content", f"%cd -q {content}")
    (content / path.name).write_text(text, encoding="utf-8")
    return runner.execute(content / path.name, folder / "executed" / path.name, parameters)


def main(folder: Path, names: list[str]) -> int:
    """Print a line for each notebook, and what was installed; return 1 if anything is not as it should be."""
    python, profile, results = make(folder), runner.profile_parameters("quick"), []
    surround(folder)
    before = versions(python)
    for topic, path in notebooks.course(names=names).items():
        outcome = execute(path, folder, profile.get(topic))
        results.append(outcome.result)
        print(outcome, outcome.failure, flush=True)
        if outcome.result == "interrupted":
            break
    after = versions(python)
    print("added:", ", ".join(sorted(after - before)) or "nothing")
    print("gone:", ", ".join(sorted(before - after)) or "nothing")
    kept = "nothing of theirs changed" if before <= after else f"gone: {', '.join(sorted(before - after))}"
    found = f"{results.count('ok')} of {len(results)} ok; {kept}"
    if not names:
        write({COLAB: f"| {COLAB} | colab | all | {found} | {when()} |"})
    return int(not before <= after or {*results} != {"ok"})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
