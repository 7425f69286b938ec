"""Importing the package, or asking for help, loads nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "datasets", "codecarbon", "matplotlib", "pandas", "sklearn", "papermill")


@pytest.mark.parametrize("statement", ["import helpers", "from helpers import environment, assets, runner"])
def test_importing_loads_nothing_heavy(statement):
    code = f"import sys; {statement}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_accuracy_alone_needs_no_statistics():
    """SciPy's and scikit-learn's take some 75 MB, in each training that looks at the accuracy alone."""
    code = (
        "import sys; import numpy as np; from helpers import training\n"
        "found = training.score(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))\n"
        "assert found.accuracy == 0.5\n"
        "print([name for name in ('sklearn', 'scipy.stats') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_check_starts_without_torch():
    """A kernel without torch gets a line that says so, not a traceback."""
    code = (
        "import sys\n"
        "sys.modules['torch'] = None  # what an import of a missing package meets\n"
        "from helpers.__main__ import main\n"
        "main(['check'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "python" in done.stdout


def test_run_without_the_packages_says_so():
    """The system's Python instead of the environment's; `-S` leaves out what is installed."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "helpers", "run"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "requirements.txt" in done.stderr and "make run" in done.stderr


def test_there_is_a_version():
    import helpers

    assert helpers.__version__ == "0.1.0"
