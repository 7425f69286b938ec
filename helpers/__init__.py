"""Watt It Takes: the small module behind the course's notebooks.

Each module is one room: `assets` fetches and verifies, `data` reads and batches, `transformer`, `training`,
`pretraining` and `compression` make models, `energy` measures, `receipts` keep what was measured, `facts` and
`costs` compute with published numbers, `plots` and `widgets` draw, `processes` runs jobs, `machine` and
`environment` say what this machine is and whether it is ready. Importing the package imports none of them,
and no heavy library: a module's own functions import what they need when they are called.
"""

__version__ = "0.1.0"
