"""What several test files do: start a program, call make, make a model, read code or what it printed."""

import re
import shutil
import signal
import subprocess
import sys

from tools import notebooks
from tools.notebooks import ROOT

HOUSES = ("helpers", "exercises", "capstone", "tools", "cluster", "benchmarks")
MADE_OF = ("Makefile", "start.py", "pyproject.toml", "requirements.txt", "requirements-test.txt")
MADE_OF += ("extras/tensorflow/requirements.txt",)
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def python(*arguments, **settings):
    """Run this Python, in the course's folder unless `settings` say otherwise, and give what came of it."""
    settings = {"cwd": ROOT, "capture_output": True, "text": True} | settings
    return subprocess.run([sys.executable, *arguments], **settings)


def make(course, *arguments, script="exit 1"):
    """Call make where there is no environment yet, with a Python that is this script."""
    for name in MADE_OF:
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, course / name)
    (course / "python").write_text(f"#!/bin/bash\n{script}\n")
    (course / "python").chmod(0o755)
    command = ["make", *arguments, f"PYTHON={course / 'python'}"]
    return subprocess.run(command, cwd=course, capture_output=True, text=True, timeout=60)


def tiny_bert(kind="BertForSequenceClassification", seed=0, **shape):
    """Make a BERT with random weights, as small as it comes; `shape` is what is different from that."""
    import transformers

    transformers.set_seed(seed)
    return getattr(transformers, kind)(transformers.BertConfig(**TINY | shape))


def interrupt_at(model, step):
    """Make the model raise a real SIGINT at the given training step, once; `remove` undoes that."""
    steps = iter(range(10_000))

    def interrupting(model, _):
        if model.training and next(steps) == step:
            signal.raise_signal(signal.SIGINT)

    return model.register_forward_pre_hook(interrupting)


def run_cells(topic, tag, **names):
    """Run a notebook's cells with this tag where these names are known, and give all names after that."""
    for cell in notebooks.tagged(notebooks.read(notebooks.course()[topic]), tag):
        exec(compile(cell.source, topic, "exec"), names)
    return names


def code(path):
    """Read the Python of a file or of a notebook, whose lines for IPython or a shell become `pass`."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = [cell.source for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    return re.sub(r"^([ \t]*)[!%].*", r"\1pass", "\n".join(cells), flags=re.MULTILINE)


def printed(notebook):
    """Join what the stored cells of a notebook printed, their tables included."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)
