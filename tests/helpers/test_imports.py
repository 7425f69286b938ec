"""Importing the package loads nothing heavy, and where packages are missing it says what to do."""

import pytest

from tests.shared import python

HEAVY = ("torch", "transformers", "datasets", "codecarbon", "matplotlib", "pandas", "sklearn", "papermill")
ACCURACY = "import numpy as np; from helpers.training import score; score(np.arange(2), np.eye(2)).accuracy"
WORKER = "from cluster.reviews import pad, read; from helpers.transformer import load\n"
WORKER += "load(0)(*pad(read('train', 2))[:2])"
WITHOUT = {ACCURACY: ("sklearn", "scipy.stats"), WORKER: ("transformers", "datasets", "pandas", "scipy")}


def test_importing_loads_nothing_heavy_and_takes_no_time():
    heavy = f"[name for name in {HEAVY} if name in sys.modules]"
    names = "__version__, environment, assets, processes"
    code = f"import sys, time; from helpers import {names}; print({heavy}, time.process_time())"
    shown = [python("-c", code).stdout.rpartition(" ") for _ in range(3)]  # a busy neighbor slows some
    assert {loaded for loaded, *_ in shown} == {"[]"}
    assert min(float(seconds) for *_, seconds in shown) < 0.2


@pytest.mark.parametrize(("work", "libraries"), WITHOUT.items(), ids=["accuracy", "worker"])
def test_what_needs_no_large_library_loads_none(work, libraries):
    """SciPy's and scikit-learn's take some 75 MB, in each training that evaluates the accuracy alone."""
    loaded = f"[name for name in {libraries} if name in sys.modules]"
    assert python("-c", f"import sys\n{work}\nprint({loaded})").stdout == "[]\n"


def test_check_without_torch_or_any_package_says_what_to_do():
    """As with the system's Python instead of the environment's; `-S` leaves out what is installed."""
    missing = "import sys; sys.modules['torch'] = None"  # what an import of a missing package meets
    done = python("-c", f"{missing}; from helpers.__main__ import main; main(['check'])")
    assert "Traceback" not in done.stderr and "python" in done.stdout
    done = python("-S", "-m", "helpers", "check")
    assert done.returncode == 1 and done.stderr == ""
    assert "FAIL packages" in done.stdout and "make setup" in done.stdout
    assert "NOTE memory    unknown (ModuleNotFoundError: No module named 'psutil')" in done.stdout
