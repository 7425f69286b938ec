"""Watt It Takes: the small module behind the course's notebooks.

Each module is one room: `assets` fetches and verifies, `data` reads and batches, `transformer`, `training`,
`pretraining` and `compression` make models, `energy` measures, `receipts` keep what was measured, `facts` and
`costs` compute with published numbers, `plots` and `widgets` draw, `quiz` asks, `processes` runs jobs,
`machine` and `environment` say what this machine is and whether it is ready. Importing the package imports
none of them, and no heavy library: those that make models import PyTorch, the others when a call needs it.
"""

import os

# What the course is built on reports its use unless told otherwise before it is imported: onnxruntime, with
# an id that it keeps in the home folder, and the model hub's client. What someone has set stands.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# oneDNN keeps what it has prepared for the last 1,024 shapes. In bf16 that is a copy of the weights for each
# length of a batch: 1.8 GB for “Fine-tune a BERT”, and 1.3 in the same time with the last 16.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
os.environ.setdefault("LRU_CACHE_CAPACITY", "16")
os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # CUDA_VISIBLE_DEVICES counts as the meter does

__version__ = "0.1.0"
