r"""Set up Watt It Takes and open it, with nothing but Python: `python start.py`. `make lab` calls this.

    python start.py                     # set up what is missing, then open the course in JupyterLab
    python start.py setup               # set up alone
    python start.py --kit E:\kit         # set up from a kit, without a network (teaching/kit.md)

What follows is JupyterLab's: python start.py --no-browser. A set-up that broke off is taken up again.
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
MINE = ROOT / "mine"  # the learner's notebooks
EMBEDDED = ROOT / "models" / "all-MiniLM-L6-v2"
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def main():
    """Do what the command line says, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    about = "lab (if you say nothing), setup, or tests: setup with what the tests need"
    parser.add_argument("what", nargs="?", default="lab", choices=("lab", "setup", "tests"), help=about)
    parser.add_argument("--kit", type=Path, help="folder that `make kit` wrote")
    chosen, of_jupyter = parser.parse_known_args()
    # What is printed here comes before what pip prints next, and a sign that a terminal lacks is escaped.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    if of_jupyter and chosen.what != "lab":
        parser.error("only JupyterLab takes more: " + " ".join(of_jupyter))
    try:
        set_up(chosen.kit)
        if chosen.what == "tests" and not up_to_date(".ready-test", "requirements-test.txt"):
            print("Adding what the tests need.")
            install("--requirement", "requirements-test.txt")
            (VENV / ".ready-test").touch()
        if chosen.what == "lab":
            try:
                copy_notebooks()
            except OSError as error:
                fix = "Make it writable, or free some space. Until then, save your work elsewhere"
                print(f"{MINE} can't be written ({error.strerror}). {fix}; notebooks/ has all notebooks.")
            return open_lab(of_jupyter)
        return 0
    except KeyboardInterrupt:
        return 130  # what a shell expects


def set_up(kit):
    """Make .venv with the pinned packages, and fetch the models, as far as either isn't there."""
    look_at_python()
    if kit:
        look_at_kit(kit)
    if not up_to_date(".ready", "requirements.txt"):
        if not runs("-m", "pip", "--version") and subprocess.call([sys.executable, "-m", "venv", str(VENV)]):
            sys.exit(f"No environment could be made in {VENV}; why stands above.")
        print(f"Setting up {VENV.name}: a few minutes the first time. 1 of 2: packages.")
        where = ["--no-index", "--find-links", str(kit / "wheels")] if kit else []
        if not kit:
            take_cpu_build()
        install("--requirement", "requirements.txt", *where)
        install("--quiet", "--no-deps", "--no-build-isolation", "--editable", ".", *where)
        settings = VENV / "share" / "jupyter" / "lab" / "settings"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "overrides.json").write_text(json.dumps(NEWS), encoding="utf-8")
        (VENV / ".ready").touch()  # last, so that what broke off is taken up again
        print("2 of 2: the models.")
    if kit:
        shutil.copytree(kit / "models", EMBEDDED.parent, dirs_exist_ok=True)
    if subprocess.call([PYTHON, "-m", "helpers", "fetch"], cwd=ROOT):
        if not EMBEDDED.is_dir():
            sys.exit(1)
        later = f"Later, with a network: {PYTHON} -m helpers fetch"
        print(f"Going on: the course opens without that model. {later}")


def look_at_python():
    """Say what is wrong with this Python, or with the one of the environment that is there."""
    allowed = "3.11 to 3.14 expected. Install one, or name another: make lab PYTHON=python3.12"
    if not (3, 11) <= sys.version_info < (3, 15):
        sys.exit(f"{sys.executable} is Python {platform.python_version()}: {allowed}")
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        fix = "On Debian and Ubuntu: sudo apt install python3-venv"
        sys.exit(f"{sys.executable} cannot make a virtual environment: its venv module is missing. {fix}")
    if PYTHON.exists() and not runs("-c", "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))"):
        sys.exit(f"{VENV} holds a Python that is too old, too new or gone. Remove that folder and try again.")


def look_at_kit(kit):
    """Stop unless the kit has wheels for this system and Python."""
    try:
        targets = json.loads((kit / "kit.json").read_text(encoding="utf-8"))["targets"]
    except (OSError, ValueError, KeyError):
        sys.exit(f"There is no kit in {kit}: expected the folder with kit.json that `make kit` wrote.")
    here = f"{platform.system()}-{platform.machine()}-{sys.version_info[0]}.{sys.version_info[1]}".lower()
    if here not in targets:
        sys.exit(f"The kit has nothing for {here}. It has: {', '.join(targets)}.")


def runs(*arguments):
    """Say whether the environment's Python is there and does this without an error."""
    return PYTHON.exists() and not subprocess.run([PYTHON, *arguments], capture_output=True).returncode


def up_to_date(stamp, requirements):
    """Say whether these requirements are installed as they are now; take away a stamp of older ones."""
    stamp, sources = VENV / stamp, [ROOT / requirements, ROOT / "pyproject.toml"]
    if stamp.exists() and stamp.stat().st_mtime >= max(path.stat().st_mtime for path in sources):
        return True
    stamp.unlink(missing_ok=True)
    return False


def pip(*arguments):
    """Install with the environment's pip, quietly where there is no terminal; return its exit status."""
    quiet = [] if sys.stdout.isatty() else ["--quiet"]  # its progress is hundreds of lines
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", *quiet, *arguments]
    elsewhere = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")  # out of this environment, as with PIP_USER
    variables = {name: text for name, text in os.environ.items() if name not in elsewhere}
    return subprocess.call(command, cwd=ROOT, env=variables | {"PIP_USER": "0"})


def install(*arguments):
    """Install, or stop and say what to do."""
    if pip(*arguments):
        needs = " The first setup needs a network, and about 3 GB of disk." * ("--no-index" not in arguments)
        again = "Run the same command again: what has been downloaded is kept."
        sys.exit(f"Setup stopped: pip says above why.{needs} {again}")


def take_cpu_build():
    """Install PyTorch's CPU build first where the usual one would bring gigabytes for no GPU."""
    settings = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    set_by_hand = "index" in settings or "find-links" in settings
    if platform.system() != "Linux" or shutil.which("nvidia-smi") or set_by_hand:
        return
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    torch = [pin for pin in pins if pin.startswith("torch==")]
    print(f"No NVIDIA GPU was found: PyTorch comes as its CPU build, from {CPU_BUILDS}.")
    if pip("--no-deps", "--index-url", CPU_BUILDS, "--retries", "1", "--timeout", "15", *torch):
        print("It can't be had. The usual build comes instead: some gigabytes more. Ctrl-C stops it.")


def copy_notebooks():
    """Copy the notebooks to mine/, where a learner works; a newer one comes beside a copy that was edited."""
    from helpers.values import replacing  # where an old Python has been named already

    kept = MINE / ".as_copied"
    kept.mkdir(parents=True, exist_ok=True)
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        new, copy, before = as_jupyter_saves(source), MINE / source.name, kept / source.name
        old = before.read_bytes() if before.exists() else None
        if old == new:
            continue
        if copy.exists() and copy.read_bytes() not in (old, new):
            copy = copy.with_name(f"{source.stem}_new.ipynb")
            print(f"{source.stem} was updated. Yours stays as it is; the new one is {copy.name}.")
        for path in (copy, before):
            with replacing(path) as whole:
                whole.write_bytes(new)


def as_jupyter_saves(source):
    """Give a notebook's bytes with what JupyterLab would add on opening it, and then call it unsaved."""
    notebook = json.loads(source.read_text(encoding="utf-8"))
    python = (VENV / "pyvenv.cfg").read_text(encoding="utf-8").partition("version = ")[2].split("\n")[0]
    notebook["metadata"]["kernelspec"]["display_name"] = "Python 3 (ipykernel)"
    more = {"codemirror_mode": {"name": "ipython", "version": 3}, "nbconvert_exporter": "python"}
    notebook["metadata"]["language_info"].update(more, version=python.strip())
    for cell in notebook["cells"]:
        if cell["metadata"].get("jupyter", {}).get("outputs_hidden"):
            cell["metadata"]["collapsed"] = True
    return (json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def open_lab(arguments):
    """Open JupyterLab at the learner's copy of the first notebook, and return its exit status."""
    first = min([*MINE.glob("*.ipynb")] or (ROOT / "notebooks").glob("*.ipynb")).relative_to(ROOT).as_posix()
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root in a container
    where = f"--LabApp.default_url=/lab/tree/{first}"
    return subprocess.call([PYTHON, "-m", "jupyter", "lab", *root, where, *arguments], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
