"""Records what pretraining buys on the film reviews, by number of labels.

    python -m benchmarks.labels    # a quarter of an hour on 2 cores; after an interrupt it goes on

One network, which reads the mean of all tokens, and three starts: random weights, and pocket-bert after a
short reading and after the long one (`python -m benchmarks.pocket_bert`, the first with `--short`). Each gets
the learning rate that does best on validation, is fine-tuned on the first n training sentences, and scored on
the whole test split. Writes data/receipts/labels.json, which “Pretrain a BERT” shows.
"""

import functools
import itertools

import pandas as pd
import torch
import transformers
from transformers import BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from benchmarks import COUNTRY, RECEIPTS, begin, pocket_bert, record, recorded, save
from helpers import data, energy, training, transformer

RECEIPT, LENGTH = RECEIPTS / "labels.json", pocket_bert.LENGTH
EPOCHS = {200: 10, 1_000: 4, 7_070: 2}  # few sentences need more passes
LEARNING_RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
SETTINGS = {"batch_size": 16, "head_learning_rate": 1e-3}
TUNING_ROWS = 1_000
STARTS = {"from scratch": None, "short reading": pocket_bert.SHORT_TARGET, "pocket-bert": pocket_bert.TARGET}
SEEDS = {1_000: 5, 200: 5, 7_070: 3}
TURNS = range(max(SEEDS.values()))
PLAN = [(start, rows, seed) for seed in TURNS for rows in SEEDS for start in STARTS if seed < SEEDS[rows]]


class MeanClassifier(BertPreTrainedModel):
    """Transformers' BERT with a new head for two classes on the mean of all tokens' vectors, not on [CLS]'s.

    Masked language modeling asks [CLS] nothing, so a model pretrained on that alone has put nothing there.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.classifier = torch.nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask, labels=None):
        hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
        logits = self.classifier(transformer.mean(hidden, attention_mask))
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


@functools.cache
def splits(start: str) -> tuple:
    """A start's own tokenizer, and the reviews in its tokens: training, validation and test."""
    tokenizer = transformers.BertTokenizer.from_pretrained(STARTS[start] or pocket_bert.TARGET)
    return tokenizer, *(data.tokenize(data.load_reviews(split), tokenizer, LENGTH) for split in data.REVIEWS)


def fit(start: str, learning_rate: float, seed: int, rows: int, judged_on: str) -> dict:
    """Train a classifier, its head new and its weights the start's or random; say how good it is."""
    tokenizer, train, validation, test = splits(start)
    transformers.set_seed(seed)
    config = BertConfig.from_pretrained(pocket_bert.TARGET)
    model = MeanClassifier.from_pretrained(STARTS[start]) if STARTS[start] else MeanClassifier(config)
    settings = SETTINGS | {"epochs": EPOCHS[rows], "learning_rate": learning_rate, "seed": seed}
    watched = data.take(validation, 20, "validation rows")
    with energy.measure(start, country=COUNTRY) as meter:
        training.fine_tune(model, data.take(train, rows), watched, tokenizer, **settings)
    found = training.evaluate(model, {"validation": validation, "test": test}[judged_on], tokenizer)
    how = {"epochs": EPOCHS[rows], "learning_rate": learning_rate, "accuracy": found.accuracy}
    return how | {"interval": found.interval, "f1": found.f1, "cost": meter.result}


def main() -> None:
    what = "test accuracy with and without pretraining, by number of labeled sentences"
    files = ("reviews/train.csv", "reviews/test.csv", "models/pocket-bert/model.safetensors")
    settings = {"epochs": EPOCHS, "learning_rates": LEARNING_RATES, **SETTINGS}
    keep = functools.partial(save, RECEIPT, "benchmarks.labels", what, files, settings)
    found, _ = recorded(RECEIPT)
    tries = itertools.product(STARTS, LEARNING_RATES, (0, 1))
    tune = functools.partial(fit, rows=TUNING_ROWS, judged_on="validation")
    record(found, tries, ("name", "learning_rate", "seed"), tune, keep, "tuning")
    right = pd.DataFrame(found["tuning"]).pivot_table("accuracy", "name", "learning_rate")
    best = right.idxmax(axis="columns").to_dict()  # by start

    def make(start: str, rows: int, seed: int) -> dict:
        return fit(start, best[start], seed, rows, "test")

    record(found, PLAN, ("name", "train_rows", "seed"), make, keep)


if __name__ == "__main__":
    begin(__doc__)
    main()
