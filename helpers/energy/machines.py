"""Energy of several machines: each one's meter counts once."""

import itertools
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.energy.meter import finished, measure
from helpers.energy.records import Component, EnergyError, Measurement, Record, total, weakest
from helpers.values import require_range

BOOT = Path("/proc/sys/kernel/random/boot_id")  # all containers on a Linux share it, as its energy counter


@dataclass(frozen=True)
class Reading(Record):
    """A measurement, with the machine from `machine_id` and the start, in seconds since 1970."""

    machine: str
    started: float
    cost: Measurement


def machine_id() -> str:
    """What tells this machine from others: its boot's random number, or its name where there is none."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return platform.node()


def on_this_machine(label: str, work: Callable[[], object], *, country: str) -> Reading:
    """Do `work` and measure this machine meanwhile; all processes that the work starts are covered."""
    with measure(label, country=country) as meter:
        finished(label, work())
    return Reading(machine_id(), meter.started, meter.result)


def across(readings: Sequence[Reading]) -> Measurement:
    """What several machines used together, or one machine in several attempts.

    In the sum, `wall_s` is from the first start to the last end. It raises `EnergyError` if there is nothing
    to add, if two readings of one machine overlap in time, or if the countries differ.
    """
    if not readings:
        raise EnergyError("There is no reading: expected at least one, from `energy.on_this_machine`.")
    ordered = sorted(readings, key=lambda reading: (reading.machine, reading.started))
    began = min(reading.started for reading in ordered)
    for one, other in itertools.pairwise(ordered):
        if one.machine == other.machine and other.started < one.started + one.cost.wall_s:
            both = f"{one.cost.label!r} and {other.cost.label!r} measured one machine at the same time"
            expected = "Expected one meter a machine, around all of its processes."
            raise EnergyError(f"{both}: its energy would count twice. {expected}")
    costs = [reading.cost for reading in ordered]
    ended = max(reading.started + reading.cost.wall_s for reading in ordered)
    first, places = costs[0], {(cost.country, cost.pue) for cost in costs}
    if len(places) > 1:
        found = " and ".join(f"{country} with PUE {pue:g}" for country, pue in sorted(places))
        raise EnergyError(f"The readings are of {found}: their carbon differs. Sum each place by itself.")
    parts = [part for cost in costs for part in cost.components]
    for name, value in [("wall_s", cost.wall_s) for cost in costs] + [(p.name, p.energy_wh) for p in parts]:
        require_range(name, 0 if value is None else value, 0, error=EnergyError)
    counted = dict.fromkeys(name for cost in costs for name in cost.work)
    loads = [cost.foreign_load for cost in costs if cost.foreign_load is not None]
    machines = len({reading.machine for reading in ordered})
    return replace(
        first,
        label=f"{len(costs)} readings of {machines} machine{'s' if machines > 1 else ''}",
        wall_s=ended - began,
        cpu_s=total(cost.cpu_s for cost in costs),
        components=tuple(_together(name, parts) for name in dict.fromkeys(part.name for part in parts)),
        foreign_load=max(loads) if len(loads) == len(costs) else None,
        notes=tuple(dict.fromkeys(note for cost in costs for note in cost.notes)),
        work={name: sum(cost.work.get(name, 0) for cost in costs) for name in counted},
        phases=(),
        idle_w=None,
        started=began,
    )


def _together(name: str, parts: Sequence[Component]) -> Component:
    """The components called `name`, summed: as good as the weakest, unknown if one is."""
    same = [part for part in parts if part.name == name]
    if unknown := [part.source for part in same if part.energy_wh is None]:
        return Component(name, None, None, unknown[0])
    sources = "; ".join(dict.fromkeys(part.source for part in same))
    energy_wh, method = total(part.energy_wh for part in same), weakest(same)
    low_wh, high_wh = (total(ends) for ends in zip(*(part.range_wh() for part in same), strict=True))
    if all(part.low_wh is None for part in same):  # then the method of the sum says it
        low_wh = high_wh = None
    basis_w = same[0].basis_w if len(same) == 1 else None  # it belongs to the seconds of one machine
    return Component(name, energy_wh, method, sources, basis_w, low_wh, high_wh)
