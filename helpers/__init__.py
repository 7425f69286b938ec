"""Watt It Takes: the small module behind the course's notebooks.

Each module has one room: `assets` fetches and verifies, `data` reads and batches, `training` trains,
`compression` makes models smaller, `energy` measures, `facts` reads the published numbers, `costs`
computes with them, `checks` looks at exercises, `plots` and `widgets` draw, `environment` says whether
this machine is ready. Importing the package imports none of them, and no heavy library: a module's own
functions import what they need when they are called.
"""

__version__ = "0.1.0"
