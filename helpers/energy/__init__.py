"""Measure what a block of code costs: time, energy with its method, carbon.

CodeCarbon does the reading; this package says where each figure comes from. A component (CPU, GPU, RAM) is
`measured` (a counter was read), `modelled` (maximum power times load) or `assumed` (a constant). A total is
only as good as its weakest part, and what is unknown is None with a reason, never 0. `measure` is where to
begin; a meter of the whole machine, where there is one, tells more: `from_csv`, `by_hand`, `battery`.
"""

from helpers.energy.comparing import Comparison, compare, repeat
from helpers.energy.machines import Reading, across, machine_id, on_this_machine
from helpers.energy.meter import Meter, idle, measure, start
from helpers.energy.quality import Predictions, Training, per_1000, to_target
from helpers.energy.records import METHODS, Component, EnergyError, Idle, Measurement
from helpers.energy.sources import carbon_intensity
from helpers.energy.wall import Charge, MeterLog, battery, by_hand, from_csv
from helpers.values import significant_digits
