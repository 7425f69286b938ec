"""What the plumbing costs: importing `helpers`, a warm measurement around nothing, and one of ten seconds.

python -m benchmarks.overhead    # on a quiet machine
"""

import statistics
import subprocess
import sys
import time

from helpers import energy

IMPORTS, BLOCKS, RUN_S = 9, 50, 10


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


def phase_seconds() -> list[float]:
    """The same for a phase of a measurement that runs already."""
    times = []
    with energy.measure("all", country="USA") as meter:
        for _ in range(BLOCKS):
            start = time.perf_counter()
            with meter.phase("nothing"):
                pass
            times.append(time.perf_counter() - start)
    return times


def measuring_share() -> float:
    """CPU seconds of this process while it sleeps in a measured block, as a share of the block's time."""
    start = time.process_time()
    with energy.measure("sleep", country="USA"):
        time.sleep(RUN_S)
    return (time.process_time() - start) / RUN_S


def main() -> None:
    """Print median and maximum of each."""
    for name, times, limit in [
        ("import helpers", import_seconds(), 0.2),
        ("energy.measure, warm", measure_seconds(), 0.05),
        ("phase of a measurement", phase_seconds(), 0.05),
    ]:
        print(
            f"{name:22} median {statistics.median(times) * 1_000:6.1f} ms, longest of {len(times)} "
            f"{max(times) * 1_000:6.1f} ms, aim: under {limit * 1_000:.0f} ms"
        )
    print(f"{'a run of ' + str(RUN_S) + ' s':22} {measuring_share():.2%} of one core, aim: under 1 %")


if __name__ == "__main__":
    main()
