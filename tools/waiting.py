"""Says before a cell that takes long for how long: `tools/ready.py` begins it in each notebook's kernel."""

import hashlib
import json
import statistics
import time
from pathlib import Path

from IPython import InteractiveShell

LONG_S = 10


def key(source: str) -> str:
    """Give what a cell is known by: a sum of its text, which is the same in a kernel and in any copy."""
    return hashlib.sha256(source.strip().encode()).hexdigest()[:12]


def announce(shell: InteractiveShell, costs: Path) -> None:
    """Print before each cell that was long when its notebook was stored how long it will be, and until when.

    The first guess is the stored time; each of those cells that has run here corrects the next.
    """
    if __name__ in [each.__module__ for each in shell.events.callbacks["pre_run_cell"]]:
        return  # the set-up cell ran again
    try:
        long_cells = [each["long_cells"] for each in json.loads(costs.read_text()).values()]
    except (OSError, ValueError, LookupError):  # a copy without it, or one that a merge left in pieces
        return
    expected = {name: seconds for cells in long_cells for name, seconds in cells.items()}
    ratios: list[float] = []
    begun: dict[float, float] = {}

    def before(info) -> None:
        begun.clear()
        if seconds := expected.get(key(info.raw_cell or "")):
            guess = seconds * (statistics.median(ratios) if ratios else 1)
            until = time.strftime("%H:%M:%S", time.localtime(time.time() + guess))
            where = "" if ratios else " on the course's machine"
            print(f"About {guess:.0f} s{where}: until {until}.", flush=True)
            begun[seconds] = time.perf_counter()

    def after(result) -> None:
        if result.success:
            ratios.extend((time.perf_counter() - then) / seconds for seconds, then in begun.items())

    shell.events.register("pre_run_cell", before)
    shell.events.register("post_run_cell", after)
