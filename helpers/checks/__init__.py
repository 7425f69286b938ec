"""One check for each exercise of the course: a friendly verdict, never an exception.

A check takes the learner's `answer` and returns a `Verdict`. It makes its own tensors, so it
works on any kernel state, and imports torch only when it is called.
"""

from .base import Verdict, check, not_yet, right
from .nb00 import nb00_joules
from .nb01 import nb01_flight, nb01_intensity, nb01_time_saved, nb01_training_energy
from .nb02 import (
    nb02_adam_first_step,
    nb02_causal_lm,
    nb02_temperature_gradient,
    nb02_untrained_loss,
)
from .nb03 import nb03_break_even, nb03_unigram, nb03_word_vectors
from .nb04 import nb04_batch, nb04_gaps, nb04_steps
from .nb05 import nb05_claims, nb05_cpu_model, nb05_net
from .nb06 import nb06_halving, nb06_lora, nb06_tokens
from .nb07 import nb07_break_even, nb07_cascade, nb07_scale
from .nb08 import nb08_average, nb08_hours, nb08_machines, nb08_shares
from .nb09 import nb09_clip, nb09_invariance, nb09_path, nb09_rebound
from .nb10 import nb10_caught, nb10_front, nb10_job, nb10_train

__all__ = [
    "Verdict",
    "check",
    "nb00_joules",
    "nb01_flight",
    "nb01_intensity",
    "nb01_time_saved",
    "nb01_training_energy",
    "nb02_adam_first_step",
    "nb02_causal_lm",
    "nb02_temperature_gradient",
    "nb02_untrained_loss",
    "nb03_break_even",
    "nb03_unigram",
    "nb03_word_vectors",
    "nb04_batch",
    "nb04_gaps",
    "nb04_steps",
    "nb05_claims",
    "nb05_cpu_model",
    "nb05_net",
    "nb06_halving",
    "nb06_lora",
    "nb06_tokens",
    "nb07_break_even",
    "nb07_cascade",
    "nb07_scale",
    "nb08_average",
    "nb08_hours",
    "nb08_machines",
    "nb08_shares",
    "nb09_clip",
    "nb09_invariance",
    "nb09_path",
    "nb09_rebound",
    "nb10_caught",
    "nb10_front",
    "nb10_job",
    "nb10_train",
    "not_yet",
    "right",
]
