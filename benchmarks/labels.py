"""Records what pretraining buys on the film reviews, by number of labels.

    python -m benchmarks.labels --minutes 5    # as often as it takes; each goes on from the last

One network, which reads the mean of all tokens, and three starts: random weights, pocket-bert, and
pocket-bert after a little more pretraining on the training reviews without their labels. Each is fine-tuned
on the first n sentences of the training split and scored on the whole test split. Writes
data/receipts/labels.json, which “Pretrain a BERT” shows. Each of the first two gets the learning rate that
does best on the validation split.
"""

import transformers
from accelerate.utils import set_seed
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from benchmarks import COUNTRY, RECEIPTS, TODAY, begin, deadline, pocket_bert, recorded, remaining, save
from helpers import assets, data, energy, pretraining, training, transformer

RECEIPT = RECEIPTS / "labels.json"
CONTINUED = assets.ROOT / "artifacts" / "pretrain-continued"
LENGTH = 64
EPOCHS = {200: 10, 1_000: 4, 7_070: 2}  # few sentences need more passes
LEARNING_RATES = (2e-4, 5e-4, 1e-3)
SETTINGS = {"batch_size": 16, "head_learning_rate": 1e-3}
TUNING_ROWS = 1_000
CONTINUE = {"steps": 300, "batch_size": 16, "learning_rate": 5e-4, "warmup_steps": 15, "decay_steps": 285}
STARTS = ("from scratch", "pocket-bert", "continued")
SEEDS = {1_000: 5, 200: 5, 7_070: 3}


def plan() -> list[tuple[str, int, int]]:
    """Start, rows and seed of each run; continued pretraining at one size."""
    sizes = [(rows, seed) for seed in range(max(SEEDS.values())) for rows in SEEDS if seed < SEEDS[rows]]
    return [(start, *size) for size in sizes for start in STARTS[: 3 if size[0] == 1_000 else 2]]


def continue_pretraining(tokenizer) -> dict:
    """Pretrain a little more on the training reviews, and return what that cost and changed."""
    model = transformer.language_model(assets.POCKET_BERT)
    # The held-out reviews of the corpus stay out here as well, to score on.
    corpora = {split: data.load_corpus(split).to_pandas() for split in ("train", "held_out")}
    texts = {split: table.loc[table["source"] == "reviews", "text"] for split, table in corpora.items()}
    sequences = {split: pocket_bert.pack(list(rows), tokenizer, LENGTH) for split, rows in texts.items()}
    before = pretraining.evaluate_masked(model, sequences["held_out"], tokenizer)
    with energy.measure("continued pretraining", country=COUNTRY) as meter:
        loss = pretraining.masked(tokenizer, seed=0)
        history = pretraining.pretrain(model, sequences["train"], loss, **CONTINUE)
    after = pretraining.evaluate_masked(model, sequences["held_out"], tokenizer)
    transformer.save(model, CONTINUED)
    print(before, after, meter.result, sep=" | ", flush=True)
    found = {"loss_before": before.loss, "loss_after": after.loss}
    return found | {"tokens": history.tokens, "cost": meter.result}


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


def fit(start: str, train, watched, tokenizer, learning_rate: float, seed: int) -> tuple:
    """Train a classifier, its head new and its weights the start's or random; return it and the cost."""
    set_seed(seed)
    folder = CONTINUED if start == "continued" else assets.resolve_model(assets.POCKET_BERT)
    if start == "from scratch":
        model = MeanClassifier(BertConfig.from_pretrained(folder))
    else:
        model = MeanClassifier.from_pretrained(folder)
    settings = SETTINGS | {"epochs": EPOCHS[len(train)], "learning_rate": learning_rate, "seed": seed}
    with energy.measure(start, country=COUNTRY) as meter:
        training.fine_tune(model, train, watched, tokenizer, **settings)
    return model, meter.result


def tune(train, validation, watched, tokenizer) -> dict:
    """Accuracy on validation by start and learning rate; continued pretraining gets its parent's rate."""
    found = {start: {} for start in STARTS[:2]}
    for start, accuracies in found.items():
        for learning_rate in LEARNING_RATES:
            model, _ = fit(start, data.take(train, TUNING_ROWS), watched, tokenizer, learning_rate, seed=0)
            accuracies[str(learning_rate)] = training.evaluate(model, validation, tokenizer).accuracy
            print(start, learning_rate, accuracies, "on validation", sep=" | ", flush=True)
    return found


def keep(found: dict) -> None:
    """Write the receipt, after each part: an interrupt loses only the one it cuts short."""
    what = "test accuracy with and without pretraining, by number of labeled sentences"
    files = ("reviews/train.csv", "reviews/test.csv", "models/pocket-bert/model.safetensors")
    settings = {"epochs": EPOCHS, "continued": CONTINUE, **SETTINGS}
    save(RECEIPT, "benchmarks.labels", what, files=files, settings=settings, details=found)


def main() -> None:
    until = deadline(__doc__, minutes=5.0)
    found, _ = recorded(RECEIPT)
    tokenizer = transformers.BertTokenizer.from_pretrained(assets.resolve_model("pocket-bert"))
    splits = [data.tokenize(data.load_reviews(split), tokenizer, LENGTH) for split in data.REVIEWS]
    train, validation, test = splits
    watched = data.take(validation, 20, "validation rows")
    if "continued" not in found or not CONTINUED.exists():
        found["continued"] = continue_pretraining(tokenizer)
    if "tuning" not in found:
        found["tuning"] = tune(train, validation, watched, tokenizer)
        keep(found)
    best = {start: float(max(tried, key=tried.get)) for start, tried in found["tuning"].items()}
    best["continued"] = best["pocket-bert"]
    for start, rows, seed in remaining(plan(), found["runs"], ("name", "train_rows", "seed"), until):
        model, cost = fit(start, data.take(train, rows), watched, tokenizer, best[start], seed)
        result = training.evaluate(model, test, tokenizer)
        print(start, rows, seed, result, cost, sep=" | ", flush=True)
        found["runs"].append(
            {"name": start, "train_rows": rows, "epochs": EPOCHS[rows], "seed": seed, "date": TODAY}
            | {"learning_rate": best[start], "accuracy": result.accuracy, "interval": result.interval}
            | {"f1": result.f1, "cost": cost}
        )
        keep(found)
    print(f"{len(plan()) - len(found['runs'])} runs are left")


if __name__ == "__main__":
    begin()
    main()
