"""What stands beside CodeCarbon's readings: CPU seconds, the grid's intensity, a counter that is closed."""

import contextlib
import functools
import os
from pathlib import Path

import psutil

from helpers.energy.records import EnergyError

MIN_SECONDS = 0.5  # CodeCarbon samples power about once a second; less than this is noise
RAPL = Path("/sys/class/powercap")  # where Linux keeps the CPU's energy counters


def rapl_hint() -> str:
    """How to get at a CPU counter that is there but closed; empty if there is none, or if it is open."""
    for path in sorted(RAPL.glob("intel-rapl:*/energy_uj")):
        if not os.access(path, os.R_OK):
            return f"; its counter is closed to you, and `sudo chmod o+r {path}` opens it until the next boot"
    return ""


@functools.cache
def carbon_intensity(country: str) -> tuple[str, float | None, str]:
    """The code in capitals, its grid's g CO2e per kWh (None if unknown), and the source with its year.

    It is an `EnergyError` if `country` is no ISO 3166 three-letter code that CodeCarbon's table has.
    """
    from codecarbon.input import DataSource

    table = DataSource().get_global_energy_mix_data()
    code = str(country).upper()
    if code not in table:
        known = {key: row["country_name"].upper() for key, row in table.items()}
        near = [key for key, name in known.items() if len(code) > 2 and name.startswith(code[:4])]
        hint = f" Did you mean {' or '.join(near[:3])}?" if near else ""
        expected = "expected a three-letter ISO 3166 code such as 'USA' or 'IND'"
        raise EnergyError(f"There is no country {country!r}: {expected}.{hint}")
    name, year, value = (table[code].get(key) for key in ("country_name", "year", "carbon_intensity"))
    if value is None:
        return code, None, f"CodeCarbon's table has no intensity for {name}"
    return code, value, f"{value:.0f} g/kWh, {name} {year}, yearly mean (CodeCarbon's table)"


def own_cpu_seconds() -> float:
    """CPU seconds of this process and its ended children, and of the living and theirs if they are shown."""
    total = sum(os.times()[:4])
    with contextlib.suppress(OSError, psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it ended between the two calls
                total += sum(child.cpu_times()[:4])
    return total


def busy_cpu_seconds() -> float | None:
    """CPU seconds that the machine spent on anything since it started; None where that is not shown."""
    try:
        times = psutil.cpu_times()._asdict()
    except (OSError, psutil.Error):
        return None
    left_out = ("idle", "iowait", "guest", "guest_nice")  # guests are in user and nice already
    return sum(seconds for name, seconds in times.items() if name not in left_out)
