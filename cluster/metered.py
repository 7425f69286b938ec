"""Run a command with one energy meter around it: start it once on each machine, never once a process.

python cluster/metered.py --country USA --folder energy -- torchrun ... cluster/train.py
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # finds `helpers` from any folder

from cluster import worker
from helpers import energy, machine
from helpers.values import replacing


def main() -> int:
    """Run the command, write this machine's reading to the folder, and return the command's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--country", required=True, help="ISO 3166 code, such as USA")
    parser.add_argument("--folder", type=Path, required=True, help="where the readings of all machines go")
    parser.add_argument("command", nargs="+", help="after --")
    machine.escape_unprintable()
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    # A run that was killed and its resumption are two readings of one machine.
    path = chosen.folder / f"{energy.machine_id()}-{time.time():.0f}-{os.getpid()}.json"
    began = path.with_suffix(".started")  # what is left where even this program was killed: total.py says so
    ended = []

    def work() -> None:
        began.touch()
        ended.append(run(chosen.command))

    text = json.dumps(energy.on_this_machine("training", work, country=chosen.country).raw())
    try:
        with replacing(path) as new:
            new.write_text(text)
        began.unlink()
    except OSError as error:
        print(f"error: {path} can't be written ({error.strerror}). Save this there:\n{text}", file=sys.stderr)
        return ended[0] or 1
    return ended[0]


def run(command: list[str]) -> int:
    """Run the command and return its exit status; who asks this program to end asks the command."""
    try:
        process = subprocess.Popen(command)
    except OSError as error:  # 127 and 126 are what a shell says
        print(f"error: {command[0]} can't be started: {error.strerror}.", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    with process:
        for request in (signal.SIGINT, signal.SIGTERM):
            signal.signal(request, lambda *_: process.terminate())
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    worker.end_with_owner()
    try:
        sys.exit(main())
    except (OSError, energy.EnergyError) as error:
        sys.exit(f"error: {error} Nothing was started.")
