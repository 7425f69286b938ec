"""What several of these test files need."""

import pytest


@pytest.fixture(scope="session")
def rows(tokenizer):
    """Sixty sentences that say plainly what they are, of different lengths."""
    from datasets import Dataset

    from helpers import data

    texts = [f"{word} film " + "number " * (n % 7) for n in range(30) for word in ("great", "awful")]
    return data.tokenize(Dataset.from_dict({"text": texts, "label": [1, 0] * 30}), tokenizer)
