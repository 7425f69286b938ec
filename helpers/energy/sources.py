"""What stands beside CodeCarbon's readings: CPU seconds, the grid's intensity, a counter that is closed."""

import contextlib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from helpers import processes
from helpers.energy.records import EnergyError

MIN_SECONDS = 0.5  # CodeCarbon samples power about once a second; less than this is noise
MOST_W = 2_000.0  # no processor in a socket and no GPU draws more
RAPL = Path("/sys/class/powercap")  # where Linux keeps the CPU's energy counters


def rapl_hint() -> str:
    """How to get at a CPU counter that is there but closed; empty if there is none, or if it is open."""
    for path in sorted(RAPL.glob("intel-rapl:*/energy_uj")):
        if not os.access(path, os.R_OK):
            return f"; its counter is closed to you, and `sudo chmod o+r {path}` opens it until the next boot"
    return ""


def most_watts(limits: Iterable[float]) -> float:
    """Twice the highest limit, since bursts go beyond it; `MOST_W` where none is known, or it is odd."""
    return min(2 * max(limits, default=0.0) or MOST_W, MOST_W)


def rapl_limits(counter: str) -> Iterable[float]:
    """The limits, in W, of the processor with this counter file; many a processor tells none."""
    for file in Path(counter).parent.glob("constraint_*_uw"):
        with contextlib.suppress(OSError, ValueError):
            yield float(file.read_text()) / 1e6


def sockets() -> int:
    """How many sockets hold a processor."""
    from codecarbon.core.util import count_physical_cpus

    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/physical_package_id")
    return len({file.read_text() for file in files}) or count_physical_cpus()


def visible_gpus(uuids: Sequence[str]) -> tuple[set[str], list[str]]:
    """Of a machine's GPUs those that this process may use, and notes on what that leaves out or takes in.

    As in CUDA, an empty variable hides all of them, and a wrong entry those after it.
    """
    names = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    asked = next((os.environ[name] for name in names if name in os.environ), None)
    found, notes = set(uuids if asked is None else ()), list[str]()
    for entry in map(_whole_gpu, [] if asked is None else asked.split(",")):
        known = [u for place, u in enumerate(uuids) if entry == str(place) or (entry and u.startswith(entry))]
        if len(known) != 1:
            break
        found |= {*known}
    if "MIG-" in (asked or ""):
        notes.append("a MIG instance has no energy counter of its own, so its whole GPU is counted")
    if hidden := len(uuids) - len(found):
        more = f"{hidden} more GPU{'s' if hidden > 1 else ''} of this machine"
        notes.append(f"not counted, since hidden from this process: {more}")
    return found, notes


def _whole_gpu(entry: str) -> str:
    """The UUID of the GPU that a MIG instance is on, by its new or its old name; any other entry as it is."""
    entry = entry.strip()
    if entry.startswith("MIG-") and not entry.startswith("MIG-GPU-"):
        import pynvml

        instance = pynvml.nvmlDeviceGetHandleByUUID(entry)
        return pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance))
    return entry.removeprefix("MIG-").partition("/")[0]


def carbon_intensity(country: str) -> tuple[str, float | None, str]:
    """The code in capitals, its grid's g CO2e per kWh (None if unknown), and the source with its year.

    Raises `EnergyError` if `country` is no ISO 3166 three-letter code that CodeCarbon's table has.
    """
    code = str(country).upper()
    try:
        from codecarbon.input import DataSource

        table = DataSource().get_global_energy_mix_data()
    except Exception as error:  # then a block is measured without its carbon
        return code, None, f"CodeCarbon's table cannot be read ({type(error).__name__}: {error})"
    if code not in table:
        near = [key for key, row in table.items() if row["country_name"].upper().startswith(code[:4])]
        hint = f" Did you mean {' or '.join(near[:3])}?" if near and len(code) > 2 else ""
        expected = "expected a three-letter ISO 3166 code such as 'USA' or 'IND'"
        raise EnergyError(f"There is no country {country!r}: {expected}.{hint}")
    name, year, value = (table[code].get(key) for key in ("country_name", "year", "carbon_intensity"))
    if value is None:
        return code, None, f"CodeCarbon's table has no intensity for {name}"
    return code, value, f"{value:.0f} g/kWh, {name} {year}, yearly mean (CodeCarbon's table)"


def cpu_readings(notes: list[str]) -> list[float]:
    """Each of `CPU_READINGS`; NaN, and a note with the reason, for one that cannot be made here."""
    found = []
    for name, read in CPU_READINGS.items():
        try:
            found.append(read())
        except Exception as error:  # /proc may be closed, or empty
            found.append(math.nan)
            notes.append(f"the {name} cannot be read here ({type(error).__name__}: {error})")
    return found


def _children_cpu_seconds() -> float:
    total = 0.0
    for child in processes.started(psutil.Process()):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended between the two calls
            total += sum(child.cpu_times()[:4])
    return total


def _busy_cpu_seconds() -> float:
    left_out = ("idle", "iowait", "guest", "guest_nice")  # guests are in user and nice already
    return sum(seconds for name, seconds in psutil.cpu_times()._asdict().items() if name not in left_out)


CPU_READINGS = {  # seconds so far, and of the children that have ended those of this process
    "CPU time of this process": lambda: sum(os.times()[:4]),
    "CPU time of the processes that it started": _children_cpu_seconds,
    "load of other processes": _busy_cpu_seconds,
    "number of cores": lambda: psutil.cpu_count() or 1,
}
