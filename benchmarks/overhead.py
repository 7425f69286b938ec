"""What the plumbing costs: importing `helpers`, and a warm measurement around nothing.

python -m benchmarks.overhead
"""

import statistics
import subprocess
import sys
import time

from helpers import energy

IMPORTS, BLOCKS = 9, 50


def import_seconds() -> list[float]:
    """Seconds that `import helpers` takes in fresh processes, without Python's own start."""
    code = "import time; start = time.perf_counter(); import helpers; print(time.perf_counter() - start)"
    return [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(IMPORTS)
    ]


def measure_seconds() -> list[float]:
    """Seconds that `energy.measure` adds to an empty block, after a first one that loads CodeCarbon."""
    times = []
    for _ in range(BLOCKS + 1):
        start = time.perf_counter()
        with energy.measure("nothing", country="USA"):
            pass
        times.append(time.perf_counter() - start)
    return times[1:]


def main() -> None:
    """Print median and maximum of each."""
    for name, times, limit in [
        ("import helpers", import_seconds(), 0.2),
        ("energy.measure, warm", measure_seconds(), 0.05),
    ]:
        print(
            f"{name:22} median {statistics.median(times) * 1_000:6.1f} ms, longest of {len(times)} "
            f"{max(times) * 1_000:6.1f} ms, aim: under {limit * 1_000:.0f} ms"
        )


if __name__ == "__main__":
    main()
