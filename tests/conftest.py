"""What several test files need."""

import gc
import signal

import pytest

LONG = ("test_quick.py", "test_browser.py", "benchmarks", "test_site.py", "test_cluster.py")  # begun first
# A shell's background job ignores Ctrl-C, and so would every interrupt that a test sends.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not any(name in item.nodeid for name in LONG))
    gc.freeze()  # garbage isn't sought among the half million objects of what was imported


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where two tests run at a time, a file's stay together; a notebook is by itself."""
    from xdist.scheduler import LoadScopeScheduling

    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = lambda name: name if "test_quick.py" in name else name.partition("::")[0]
    return scheduler


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
    from transformers import AutoTokenizer

    from helpers import assets

    return AutoTokenizer.from_pretrained(assets.fetch_model())


@pytest.fixture(scope="session")
def rows(tokenizer):
    """Sixty sentences that say plainly what they are, of different lengths."""
    from datasets import Dataset

    from helpers import data

    texts = [f"{word} film " + "number " * (n % 7) for n in range(30) for word in ("great", "awful")]
    return data.tokenize(Dataset.from_dict({"text": texts, "label": [1, 0] * 30}), tokenizer)


@pytest.fixture(autouse=True)
def no_counter_of_a_gpu(monkeypatch):
    """In a test's few milliseconds a real GPU's counter stands still, and all would be unknown."""
    monkeypatch.setattr("codecarbon.core.gpu.PYNVML_AVAILABLE", False)
