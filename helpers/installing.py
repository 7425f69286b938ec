"""Install a list of pinned packages with one line of progress instead of pip's hundreds.

`make` runs this file by its path, before anything is installed, so it uses the standard library alone:
`python -I helpers/installing.py requirements.txt`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EVERY = 20  # packages between two lines where there is no terminal to keep a line up to date on
HELP = (
    "Setup stopped: pip's own message stands above. The first setup needs a network, and about 3 GB of disk. "
    "Run the same command again: what has been downloaded is kept."
)


def install(requirements: str) -> int:
    """Install what a requirements file lists, and return pip's exit status.

    pip's errors and warnings pass through; the rest of what it says becomes progress.
    """
    total = sum("==" in line for line in Path(requirements).read_text(encoding="utf-8").splitlines())
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-r", requirements]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as pip:
        done = 0
        for line in pip.stdout or ():
            done += line.startswith(("Collecting ", "Processing "))
            text = describe(line, done, total)
            if text:
                show(text, always=done % EVERY == 0 and not line.startswith(" "))
    if sys.stdout.isatty():
        print("\r\033[K", end="", flush=True)
    return pip.returncode


def describe(line: str, done: int, total: int) -> str:
    """Turn a line of pip into what is worth showing; empty if nothing is.

    Examples
    --------
    >>> describe("Collecting torch==2.13.0 (from -r requirements.txt (line 3))", 7, 156)
    '7 of 156: torch==2.13.0'
    >>> describe("  Downloading torch-2.13.0-cp311-none-any.whl (190.1 MB)", 7, 156)
    '7 of 156: torch-2.13.0-cp311-none-any.whl (190.1 MB)'
    >>> describe("Requirement already satisfied: six==1.17.0", 7, 156)
    ''
    """
    words = line.split()
    if line.startswith("Installing collected"):
        return "copying the packages into place, which may take a minute or two"
    if words[:1] in (["Collecting"], ["Processing"]):
        return f"{done} of {total}: {words[1].rsplit('/', 1)[-1]}"
    if words[:1] == ["Downloading"]:
        return f"{done} of {total}: {' '.join([words[1].rsplit('/', 1)[-1], *words[2:]])}"
    return ""


def show(text: str, always: bool) -> None:
    """Keep one line up to date on a terminal; elsewhere print only what `always` marks."""
    if sys.stdout.isatty():
        print(f"\r\033[K  {text[:76]}", end="", flush=True)
    elif always or text.startswith("copying"):
        print(f"  {text}", flush=True)


if __name__ == "__main__":
    try:
        status = install(sys.argv[1])
    except KeyboardInterrupt:
        status = 130
    if status:
        print(HELP, file=sys.stderr)
    sys.exit(status)
