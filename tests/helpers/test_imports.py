"""Importing the package loads nothing heavy, and where packages are missing it says what to do."""

import pytest

from tests.shared import python

HEAVY = ("torch", "transformers", "datasets", "codecarbon", "matplotlib", "pandas", "sklearn", "papermill")


@pytest.mark.parametrize("names", ["__version__", "environment, assets, processes"])
def test_importing_loads_nothing_heavy_and_takes_no_time(names):
    heavy = f"[name for name in {HEAVY} if name in sys.modules]"
    code = f"import sys, time; from helpers import {names}; print({heavy}, time.process_time())"
    shown = [python("-c", code).stdout.rpartition(" ") for _ in range(3)]  # a busy neighbor slows some
    assert {loaded for loaded, *_ in shown} == {"[]"}
    assert min(float(seconds) for *_, seconds in shown) < 0.2


def test_an_accuracy_alone_needs_no_statistics():
    """SciPy's and scikit-learn's take some 75 MB, in each training that evaluates the accuracy alone."""
    code = (
        "import sys; import numpy as np; from helpers import training\n"
        "assert training.score(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]])).accuracy == 0.5\n"
        "print([name for name in ('sklearn', 'scipy.stats') if name in sys.modules])"
    )
    assert python("-c", code).stdout.strip() == "[]"


def test_check_and_require_without_torch_or_any_package_say_what_to_do():
    """As with the system's Python instead of the environment's; `-S` leaves out what is installed."""
    missing = "import sys; sys.modules['torch'] = None"  # what an import of a missing package meets
    done = python("-c", f"{missing}; from helpers.__main__ import main; main(['check'])")
    assert "Traceback" not in done.stderr and "python" in done.stdout
    done = python("-S", "-m", "helpers", "check")
    assert done.returncode == 1 and done.stderr == ""
    assert "FAIL packages" in done.stdout and "make setup" in done.stdout
    assert "FAIL memory" in done.stdout and "can't be read without psutil" in done.stdout
    done = python("-S", "-c", "from helpers import environment; environment.require()")
    assert "ModuleNotFoundError" in done.stderr.splitlines()[-1]
    assert "has no packaging" in done.stderr and "make run" in done.stderr
