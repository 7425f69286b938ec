"""Records how three classifiers do on the film reviews, by number of labels.

    python -m benchmarks.contestants    # about half an hour on 2 quiet cores

TF-IDF with logistic regression, a BERT from random weights and the pretrained one, trained on the
first n sentences of the training split and scored on the whole test split. Writes
data/receipts/04_contestants.json, which notebook 04 shows.
"""

import datetime
import json
import os
import platform
from importlib.metadata import version

import numpy as np
import torch
import transformers
from accelerate.utils import set_seed
from cpuinfo import get_cpu_info
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from helpers import assets, data, energy, training

RECEIPT = assets.DATA / "receipts" / "04_contestants.json"
COUNTRY = "USA"
SEED = 0
EPOCHS = {100: 16, 300: 10, 1_000: 5, 3_000: 3, 7_070: 2}  # few sentences need more passes
SCRATCH_EPOCHS = {**EPOCHS, 7_070: 4}  # random weights need more, and get them
LEARNING_RATE = {"pretrained": 1e-4, "from scratch": 1e-4}


def fit(name, train, validation, tokenizer):
    """Return a function that scores the trained contestant, and what its training cost."""
    rows = len(train)
    if name == "TF-IDF":
        with energy.measure(name, country=COUNTRY) as meter:
            model = make_pipeline(
                TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10)
            )
            model.fit(train["text"][:], train["label"][:])
        return meter.result, lambda test: training.score(
            np.array(test["label"]), model.predict_proba(test["text"][:])
        )
    set_seed(SEED)
    path = assets.fetch_model()
    if name == "pretrained":
        model = transformers.AutoModelForSequenceClassification.from_pretrained(path, num_labels=2)
        epochs = EPOCHS[rows]
    else:
        config = transformers.AutoConfig.from_pretrained(path, num_labels=2)
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        epochs = SCRATCH_EPOCHS[rows]
    with energy.measure(name, country=COUNTRY) as meter:
        training.fine_tune(
            model, train, validation, tokenizer, epochs=epochs, learning_rate=LEARNING_RATE[name], seed=SEED
        )
    return meter.result, lambda test: training.evaluate(model, test, tokenizer)


def main():
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch_model())
    train, validation, test = (
        data.tokenize(data.load_reviews(split), tokenizer) for split in ("train", "validation", "test")
    )
    # Watching 1,000 validation sentences after each of 16 epochs would cost more than the training.
    watched = data.take(validation, 200, "validation rows")
    runs = []
    for name in ("TF-IDF", "pretrained", "from scratch"):
        for rows in EPOCHS:
            cost, evaluate = fit(name, data.take(train, rows), watched, tokenizer)
            result = evaluate(test)
            runs.append(
                {"name": name, "train_rows": rows, "accuracy": result.accuracy, "interval": result.interval}
                | {"f1": result.f1, "seed": SEED}
                | cost.to_dict()
            )
            print(name, rows, result, cost, sep=" | ", flush=True)
    receipt = {
        "what": "test accuracy of three classifiers by number of labeled sentences",
        "made_by": "python -m benchmarks.contestants",
        "date": datetime.date.today().isoformat(),
        "hardware": f"{os.cpu_count()} cores of {get_cpu_info()['brand_raw']}",
        "precision": training.best_precision(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "transformers", "codecarbon", "scikit-learn")},
        "data": {"reviews/train.csv": assets.data_sums()["reviews/train.csv"]}
        | {"reviews/test.csv": assets.data_sums()["reviews/test.csv"]},
        "settings": {
            "epochs": EPOCHS,
            "scratch_epochs": SCRATCH_EPOCHS,
            "learning_rate": LEARNING_RATE,
            "batch_size": 32,
        },
        "runs": runs,
    }
    new = RECEIPT.with_suffix(".new")
    new.write_text(json.dumps(receipt, indent=1) + "\n")
    new.rename(RECEIPT)


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count())
    main()
