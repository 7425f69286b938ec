"""Records how three classifiers do on the film reviews, by number of labels.

    python -m benchmarks.contestants    # three quarters of an hour on 2 cores; after an interrupt it goes on

TF-IDF with logistic regression, a BERT from random weights and the pretrained one. Each has eight tries on
the validation split, with TUNING_ROWS labels: C, the learning rate, from scratch also the number of passes.
With the best it is trained on the first n sentences of the training split and scored on the whole test split,
a BERT in three seeds. Writes data/receipts/contestants.json, which “Fine-tune a BERT” shows.
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
import transformers
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from benchmarks import COUNTRY, RECEIPTS, begin, record, recorded, save
from helpers import assets, data, energy, training

RECEIPT = RECEIPTS / "contestants.json"
EPOCHS = {100: 10, 1_000: 3, 3_000: 2, 7_070: 2}  # few sentences need more passes
BATCH_SIZE, TUNING_ROWS = 32, 3_000
# Dropout slows a step by a tenth, and fine-tuning as short as this does without.
DROPOUT = {"pretrained": 0.0, "from scratch": 0.1}
# The head's rate is three times what stands here; `times` multiplies the passes, for who has to learn words.
RATES, SCRATCH_RATES = (2e-5, 5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3), (3e-5, 1e-4, 3e-4, 1e-3)
TRIES = {
    "TF-IDF": [{"C": C} for C in (0.3, 1, 3, 10, 30, 100, 300, 1_000)],
    "pretrained": [{"learning_rate": rate, "times": 1} for rate in RATES],
    "from scratch": [{"learning_rate": rate, "times": n} for n in (1, 3) for rate in SCRATCH_RATES],
}
PLAN = [("TF-IDF", rows, 0) for rows in (100, 300, 1_000, 3_000, 7_070)]
PLAN += [("pretrained", rows, seed) for seed in range(3) for rows in EPOCHS]
PLAN += [("from scratch", rows, seed) for seed in range(3) for rows in (1_000, 3_000, 7_070)]


def fit_tfidf(texts: Sequence[str], labels: Sequence[int], C: float = 10) -> Pipeline:
    """TF-IDF with logistic regression; at C's default it is the gate of benchmarks/serving.py."""
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=C))
    return model.fit(list(texts), list(labels))


def new_model(name: str, seed: int) -> torch.nn.Module:
    """A BERT with a new head, its weights pretrained or random."""
    transformers.set_seed(seed)
    rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), DROPOUT[name])
    path, build = assets.fetch_model(), transformers.AutoModelForSequenceClassification
    if name == "pretrained":
        return build.from_pretrained(path, num_labels=2, **rates)
    return build.from_config(transformers.AutoConfig.from_pretrained(path, num_labels=2, **rates))


def fit(name: str, settings: dict, train, watched, judged, tokenizer, seed: int) -> dict:
    """Train a contestant; say how it does on the rows that judge it, and what the training cost."""
    if name == "TF-IDF":
        with energy.measure(name, country=COUNTRY) as meter:
            model = fit_tfidf(train["text"][:], train["label"][:], **settings)
        result = training.score(np.array(judged["label"]), model.predict_proba(judged["text"][:]))
    else:
        model, rate = new_model(name, seed), settings["learning_rate"]
        how = {"learning_rate": rate, "head_learning_rate": 3 * rate, "batch_size": BATCH_SIZE, "seed": seed}
        how["epochs"] = settings["times"] * EPOCHS[len(train)]
        with energy.measure(name, country=COUNTRY) as meter:
            training.fine_tune(model, train, watched, tokenizer, **how)
        result = training.evaluate(model, judged, tokenizer)
    return {"accuracy": result.accuracy, "interval": result.interval, "f1": result.f1, "cost": meter.result}


def main() -> None:
    what = "test accuracy of three classifiers by number of labeled sentences"
    files, shared = [f"reviews/{split}.csv" for split in data.REVIEWS], {"epochs": EPOCHS}
    shared |= {"batch_size": BATCH_SIZE, "tuning_rows": TUNING_ROWS, "dropout": DROPOUT, "tries": TRIES}
    keep = functools.partial(save, RECEIPT, "benchmarks.contestants", what, files, shared)
    tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch_model())
    train, validation, test = (data.tokenize(data.load_reviews(each), tokenizer) for each in data.REVIEWS)
    found, settings = recorded(RECEIPT)
    if settings.get("tries") != TRIES:
        found = {"runs": []}
    tries = [(name, settings) for name in TRIES for settings in TRIES[name]]
    # Watching all validation sentences after each epoch would cost more than the small trainings do.
    given = {"watched": data.take(validation, 200, "validation rows"), "tokenizer": tokenizer}
    tune = functools.partial(fit, train=data.take(train, TUNING_ROWS), judged=validation, seed=0, **given)
    record(found, tries, ("name", "settings"), tune, keep, "tuning")

    def make(name: str, rows: int, seed: int) -> dict:
        tried = [each for each in found["tuning"] if each["name"] == name]
        settings = max(tried, key=lambda each: each["accuracy"])["settings"]  # of equals the first
        epochs = settings["times"] * EPOCHS[rows] if "times" in settings else None
        result = fit(name, settings, data.take(train, rows), judged=test, seed=seed, **given)
        return {"epochs": epochs, "settings": settings} | result

    record(found, PLAN, ("name", "train_rows", "seed"), make, keep)


if __name__ == "__main__":
    begin(__doc__)
    main()
