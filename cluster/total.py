"""Add up the energy of all machines of a run, and of all the attempts that it took.

python cluster/total.py artifacts/job-4711/energy
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # finds `helpers` from any folder

from helpers import energy, machine
from helpers.receipts import NO_FIGURE

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {__doc__.splitlines()[2]}")
    machine.escape_unprintable()
    readings = []
    try:
        for path in sorted(Path(sys.argv[1]).glob("*.json")):
            readings.append(energy.Reading.from_raw(json.loads(path.read_text(encoding="utf-8"))))
            str.strip(readings[-1].machine)  # a value of another type shows here, where its file is known
            str(energy.across(readings[-1:]))
    except (*NO_FIGURE, OSError, RecursionError) as error:
        advice = "Get it anew from its machine, or move it away to add up the others."
        sys.exit(f"error: {path} is no whole reading ({error}), so the sum is unknown. {advice}")
    try:
        print(energy.across(readings))
    except energy.EnergyError as error:
        sys.exit(f"error: {error}")
    if unread := sorted(file.stem for file in Path(sys.argv[1]).glob("*.started")):
        left = f"{', '.join(unread)} began and left no reading."
        why = "Either they still run, or their machine or their meter was killed."
        sys.exit(f"error: the run used more, and nobody knows how much: {left} {why}")
