"""Records how three classifiers do on the film reviews, by number of labels.

    python -m benchmarks.contestants    # about half an hour on 2 quiet cores

TF-IDF with logistic regression, a BERT from random weights and the pretrained one, trained on the
first n sentences of the training split and scored on the whole test split. Writes
data/receipts/contestants.json, which “Fine-tune a BERT” shows.
"""

from collections.abc import Sequence

import numpy as np
import torch
import transformers
from accelerate.utils import set_seed
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from benchmarks import COUNTRY, RECEIPTS, TODAY, begin, recorded, remaining, save
from helpers import assets, data, energy, training

RECEIPT = RECEIPTS / "contestants.json"
EPOCHS = {100: 10, 1_000: 3, 3_000: 2, 7_070: 2}  # few sentences need more passes
SETTINGS = {  # dropout slows a step by a tenth, and fine-tuning as short as this does without
    "TF-IDF": {},
    "pretrained": {"learning_rate": 1e-4, "head_learning_rate": 3e-4, "dropout": 0.0},
    "from scratch": {"learning_rate": 1e-4, "head_learning_rate": 1e-3, "dropout": 0.1},
}
BATCH_SIZE = 32
PLAN = [("TF-IDF", rows, 0) for rows in (100, 300, 1_000, 3_000, 7_070)]
PLAN += [("pretrained", rows, 0) for rows in EPOCHS] + [("pretrained", 7_070, seed) for seed in (1, 2)]
PLAN += [("from scratch", rows, 0) for rows in (1_000, 3_000, 7_070)]


def fit_tfidf(texts: Sequence[str], labels: Sequence[int]) -> Pipeline:
    """TF-IDF with logistic regression, as “Fine-tune a BERT” trains it."""
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    return model.fit(list(texts), list(labels))


def new_model(name: str, seed: int) -> torch.nn.Module:
    """A BERT with a new head, its weights pretrained or random."""
    set_seed(seed)
    rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), SETTINGS[name]["dropout"])
    path, build = assets.fetch_model(), transformers.AutoModelForSequenceClassification
    if name == "pretrained":
        return build.from_pretrained(path, num_labels=2, **rates)
    return build.from_config(transformers.AutoConfig.from_pretrained(path, num_labels=2, **rates))


def fit(name: str, train, validation, test, tokenizer, seed: int) -> tuple:
    """Train a contestant; return its evaluation on test, and what the training cost."""
    if name == "TF-IDF":
        with energy.measure(name, country=COUNTRY) as meter:
            model = fit_tfidf(train["text"][:], train["label"][:])
        return training.score(np.array(test["label"]), model.predict_proba(test["text"][:])), meter.result
    model = new_model(name, seed)
    settings = {key: value for key, value in SETTINGS[name].items() if key != "dropout"}
    settings |= {"epochs": EPOCHS[len(train)], "batch_size": BATCH_SIZE, "seed": seed}
    with energy.measure(name, country=COUNTRY) as meter:
        training.fine_tune(model, train, validation, tokenizer, **settings)
    return training.evaluate(model, test, tokenizer), meter.result


def main() -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch_model())
    splits = [data.tokenize(data.load_reviews(split), tokenizer) for split in data.REVIEWS]
    train, validation, test = splits
    # Watching all validation sentences after each epoch would cost more than the small trainings do.
    watched = data.take(validation, 200, "validation rows")
    found, _ = recorded(RECEIPT)
    runs = [run for run in found["runs"] if run["settings"] == SETTINGS[run["name"]]]
    runs = [run for run in runs if run["epochs"] in (None, EPOCHS.get(run["train_rows"]))]
    what = "test accuracy of three classifiers by number of labeled sentences"
    files, shared = ("reviews/train.csv", "reviews/test.csv"), {"epochs": EPOCHS, "batch_size": BATCH_SIZE}
    for name, rows, seed in remaining(PLAN, runs, ("name", "train_rows", "seed")):
        result, cost = fit(name, data.take(train, rows), watched, test, tokenizer, seed)
        print(name, rows, seed, result, cost, sep=" | ", flush=True)
        epochs = None if name == "TF-IDF" else EPOCHS[rows]
        runs.append(
            {"name": name, "train_rows": rows, "epochs": epochs, "seed": seed, "settings": SETTINGS[name]}
            | {"date": TODAY, "accuracy": result.accuracy, "interval": result.interval}
            | {"f1": result.f1, "cost": cost}
        )
        save(RECEIPT, "benchmarks.contestants", what, files=files, settings=shared, details={"runs": runs})


if __name__ == "__main__":
    begin(__doc__)
    main()
