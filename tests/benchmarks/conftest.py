"""What the benchmarks' tests share."""

import pytest
import transformers

from benchmarks.labels import MeanClassifier
from helpers import data, training
from tests.shared import tiny_bert

SIZES = {"hidden_size": 16, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 32}


@pytest.fixture(scope="module")
def small(one_thread):
    """Forty sentences of each kind, and a tiny BERT in the place of the real one; gives the patch."""
    load, instead = data.load_reviews, lambda _path, **settings: tiny_bert(**SIZES | settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load_reviews", lambda split: data.take(load(split), 40))
        patch.setattr(training, "release_memory", lambda **_: None)  # a tiny model leaves little to return
        patch.setattr(transformers.AutoModelForSequenceClassification, "from_pretrained", instead)
        mean = lambda path, **settings: MeanClassifier(instead(path, **settings).config)  # noqa: E731
        patch.setattr(MeanClassifier, "from_pretrained", mean)
        yield patch
