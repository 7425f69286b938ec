"""What several test files need."""

import gc
import signal

import pytest

# A shell's background job ignores Ctrl-C, and so would every interrupt that a test sends.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LONG = ("test_quick.py", "test_browser.py", "benchmarks")  # begun first, so that none is left for the end


def pytest_collection_modifyitems(items):
    """Where two tests run at a time, a file's stay together; a notebook is by itself."""
    for item in items:
        group = item.name if "test_quick" in item.nodeid else item.location[0]
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: not any(name in item.nodeid for name in LONG))


def pytest_collection_finish():
    """Each training collects garbage twice: not among the half million objects of what was imported."""
    gc.freeze()


@pytest.fixture(scope="module")
def one_thread():
    """A tiny model runs no faster on two threads, and far slower beside a busy neighbor."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer():
    """The embedded model's."""
    from transformers import AutoTokenizer

    from helpers import assets

    return AutoTokenizer.from_pretrained(assets.fetch_model())
