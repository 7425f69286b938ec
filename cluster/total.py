"""Add up the energy of all machines of a run, and of all the attempts that it took.

python cluster/total.py artifacts/job-4711/energy
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # finds `helpers` from any folder

from helpers import energy

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {__doc__.splitlines()[2]}")
    files = sorted(Path(sys.argv[1]).glob("*.json"))
    try:
        print(energy.across([energy.Reading.from_raw(json.loads(file.read_text())) for file in files]))
    except energy.EnergyError as error:
        sys.exit(f"error: {error}")
    if unread := sorted(file.stem for file in Path(sys.argv[1]).glob("*.started")):
        sys.exit(
            f"error: the run used more, and nobody knows how much: {', '.join(unread)} began and left no "
            "reading. Either they still run, or their machine or their meter was killed."
        )
