"""Records how three classifiers do on the film reviews, by number of labels.

    python -m benchmarks.contestants    # about half an hour on 2 quiet cores

TF-IDF with logistic regression, a BERT from random weights and the pretrained one, trained on the
first n sentences of the training split and scored on the whole test split. Writes
data/receipts/contestants.json, which “Fine-tune a BERT” shows. A run that is there already, with the same
settings on the same data, is kept: after an interrupt, the same call goes on. Delete the file to begin anew.
"""

import datetime
import json
import os

import numpy as np
import torch
import transformers
from accelerate.utils import set_seed
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from benchmarks import recording
from helpers import assets, data, energy, training

RECEIPT = assets.DATA / "receipts" / "contestants.json"
COUNTRY = "USA"
EPOCHS = {100: 10, 1_000: 3, 3_000: 2, 7_070: 2}  # few sentences need more passes
SETTINGS = {  # dropout slows a step by a tenth, and fine-tuning as short as this does without
    "TF-IDF": {},
    "pretrained": {"learning_rate": 1e-4, "head_learning_rate": 3e-4, "dropout": 0.0},
    "from scratch": {"learning_rate": 1e-4, "head_learning_rate": 1e-3, "dropout": 0.1},
}
BATCH_SIZE = 32


def fit(name, train, validation, tokenizer, seed):
    """Return a function that scores the trained contestant, and what its training cost."""
    rows = len(train)
    if name == "TF-IDF":
        with energy.measure(name, country=COUNTRY) as meter:
            model = make_pipeline(
                TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10)
            )
            model.fit(train["text"][:], train["label"][:])
        return (
            meter.result,
            None,
            lambda test: training.score(np.array(test["label"]), model.predict_proba(test["text"][:])),
        )
    set_seed(seed)
    path = assets.fetch_model()
    settings = dict(SETTINGS[name])
    dropout = settings.pop("dropout")
    shape = {"num_labels": 2, "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    if name == "pretrained":
        model = transformers.AutoModelForSequenceClassification.from_pretrained(path, **shape)
    else:
        config = transformers.AutoConfig.from_pretrained(path, **shape)
        model = transformers.AutoModelForSequenceClassification.from_config(config)
    epochs = EPOCHS[rows]
    with energy.measure(name, country=COUNTRY) as meter:
        training.fine_tune(
            model,
            train,
            validation,
            tokenizer,
            epochs=epochs,
            batch_size=BATCH_SIZE,
            seed=seed,
            **settings,
        )
    return meter.result, epochs, lambda test: training.evaluate(model, test, tokenizer)


def main():
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch_model())
    train, validation, test = (
        data.tokenize(data.load_reviews(split), tokenizer) for split in ("train", "validation", "test")
    )
    # Watching all validation sentences after each epoch would cost more than the small trainings do.
    watched = data.take(validation, 200, "validation rows")
    plan = [("TF-IDF", rows, 0) for rows in (100, 300, 1_000, 3_000, 7_070)]
    plan += [("pretrained", 7_070, 0), ("pretrained", 7_070, 1), ("from scratch", 7_070, 0)]
    plan += [("pretrained", rows, 0) for rows in (100, 1_000, 3_000)]
    plan += [("from scratch", rows, 0) for rows in (1_000, 3_000)]
    plan += [("pretrained", 7_070, 2)]
    runs = recorded()
    done = {(run["name"], run["train_rows"], run["seed"]) for run in runs}
    for name, rows, seed in plan:
        if (name, rows, seed) in done:
            continue
        cost, epochs, evaluate = fit(name, data.take(train, rows), watched, tokenizer, seed)
        result = evaluate(test)
        print(name, rows, seed, result, cost, sep=" | ", flush=True)
        runs.append(
            {"name": name, "train_rows": rows, "epochs": epochs, "seed": seed, "settings": SETTINGS[name]}
            | {"date": datetime.date.today().isoformat()}
            | {"accuracy": result.accuracy, "interval": result.interval, "f1": result.f1}
            | cost.to_dict()
        )
        save(runs)  # after each run, so that an interrupt loses only the one it cuts short


def recorded():
    """Return the runs of an earlier call that still hold: the same machine, data, settings and epochs."""
    receipt = json.loads(RECEIPT.read_text()) if RECEIPT.is_file() else None
    if receipt is None or not recording.still_holds(receipt):
        return []
    return [
        run
        for run in receipt["runs"]
        if run["settings"] == SETTINGS[run["name"]] and run["epochs"] in (None, EPOCHS.get(run["train_rows"]))
    ]


def save(runs):
    """Write the receipt in one piece."""
    receipt = recording.header(
        what="test accuracy of three classifiers by number of labeled sentences",
        made_by="python -m benchmarks.contestants",
        packages=("torch", "transformers", "codecarbon", "scikit-learn"),
        files=("reviews/train.csv", "reviews/test.csv"),
    )
    settings = {"epochs": EPOCHS, "batch_size": BATCH_SIZE}
    recording.save(RECEIPT, receipt | {"settings": settings, "runs": runs})


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count())
    main()
