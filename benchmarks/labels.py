"""Records what pretraining buys on the film reviews, by number of labels.

    python -m benchmarks.labels    # a quarter of an hour on 2 cores; after an interrupt it goes on

One network, which reads the mean of all tokens, and three starts: random weights, and pocket-bert after a
short reading and after the long one (`python -m benchmarks.pocket_bert`, the first with `--short`). Each gets
the learning rate that does best on the validation split, is fine-tuned on the first n sentences of the
training split, and scored on the whole test split. Writes data/receipts/labels.json, which “Pretrain a BERT”
shows.
"""

import functools
import itertools

import transformers
from accelerate.utils import set_seed
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from benchmarks import COUNTRY, RECEIPTS, TODAY, begin, pocket_bert, recorded, remaining, save
from helpers import data, energy, training, transformer

RECEIPT = RECEIPTS / "labels.json"
LENGTH = 64
EPOCHS = {200: 10, 1_000: 4, 7_070: 2}  # few sentences need more passes
LEARNING_RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
SETTINGS = {"batch_size": 16, "head_learning_rate": 1e-3}
TUNING_ROWS = 1_000
STARTS = {"from scratch": None, "short reading": pocket_bert.SHORT_TARGET, "pocket-bert": pocket_bert.TARGET}
SEEDS = {1_000: 5, 200: 5, 7_070: 3}


def plan() -> list[tuple[str, int, int]]:
    """Start, rows and seed of each run."""
    sizes = [(rows, seed) for seed in range(max(SEEDS.values())) for rows in SEEDS if seed < SEEDS[rows]]
    return [(start, *size) for size in sizes for start in STARTS]


class MeanClassifier(BertPreTrainedModel):
    """Transformers' BERT with a new head for two classes on the mean of all tokens' vectors, not on [CLS]'s.

    Masked language modeling asks [CLS] nothing, so a model pretrained on that alone has put nothing there.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask, labels=None):
        hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
        logits = self.classifier(transformer.mean(hidden, attention_mask))
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


@functools.cache
def splits(start: str) -> tuple:
    """A start's own tokenizer, and the reviews in its tokens: training, validation and test."""
    tokenizer = transformers.BertTokenizer.from_pretrained(STARTS[start] or pocket_bert.TARGET)
    return tokenizer, *(data.tokenize(data.load_reviews(split), tokenizer, LENGTH) for split in data.REVIEWS)


def fit(start: str, rows: int, learning_rate: float, seed: int, judged_on: str) -> tuple:
    """Train a classifier, its head new and its weights the start's or random; return score and cost."""
    tokenizer, train, validation, test = splits(start)
    set_seed(seed)
    if STARTS[start] is None:
        model = MeanClassifier(BertConfig.from_pretrained(pocket_bert.TARGET))
    else:
        model = MeanClassifier.from_pretrained(STARTS[start])
    settings = SETTINGS | {"epochs": EPOCHS[rows], "learning_rate": learning_rate, "seed": seed}
    watched = data.take(validation, 20, "validation rows")
    with energy.measure(start, country=COUNTRY) as meter:
        training.fine_tune(model, data.take(train, rows), watched, tokenizer, **settings)
    found = training.evaluate(model, {"validation": validation, "test": test}[judged_on], tokenizer)
    print(start, rows, learning_rate, seed, judged_on, found, meter.result, sep=" | ", flush=True)
    return found, meter.result


def tune() -> list[dict]:
    """Two tries on validation of each start at each learning rate."""
    found = []
    for start, rate, seed in itertools.product(STARTS, LEARNING_RATES, (0, 1)):
        result, cost = fit(start, TUNING_ROWS, rate, seed, "validation")
        tried = {"name": start, "learning_rate": rate, "seed": seed, "accuracy": result.accuracy}
        found.append(tried | {"cost": cost})
    return found


def best_rate(tuning: list[dict], start: str) -> float:
    """The learning rate at which a start's tries were right most often."""
    own = [tried for tried in tuning if tried["name"] == start]
    return max(LEARNING_RATES, key=lambda r: sum(t["accuracy"] for t in own if t["learning_rate"] == r))


def keep(found: dict) -> None:
    """Write the receipt, after each part: an interrupt loses only the one it cuts short."""
    what = "test accuracy with and without pretraining, by number of labeled sentences"
    files = ("reviews/train.csv", "reviews/test.csv", "models/pocket-bert/model.safetensors")
    settings = {"epochs": EPOCHS, "learning_rates": LEARNING_RATES, **SETTINGS}
    save(RECEIPT, "benchmarks.labels", what, files=files, settings=settings, details=found)


def main() -> None:
    found, _ = recorded(RECEIPT)
    if "tuning" not in found:
        found["tuning"] = tune()
        keep(found)
    best = {start: best_rate(found["tuning"], start) for start in STARTS}
    for start, rows, seed in remaining(plan(), found["runs"], ("name", "train_rows", "seed")):
        result, cost = fit(start, rows, best[start], seed, "test")
        found["runs"].append(
            {"name": start, "train_rows": rows, "epochs": EPOCHS[rows], "seed": seed, "date": TODAY}
            | {"learning_rate": best[start], "accuracy": result.accuracy, "interval": result.interval}
            | {"f1": result.f1, "cost": cost}
        )
        keep(found)
    print(f"{len(plan()) - len(found['runs'])} runs are left")


if __name__ == "__main__":
    begin(__doc__)
    main()
