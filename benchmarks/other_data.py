"""Records “Fine-tune a BERT” with other data, for teaching/other_data.md; ten minutes on 2 cores."""

from functools import partial

from transformers import AutoTokenizer

from benchmarks import COUNTRY, RECEIPTS, begin, contestants, record, recorded, save
from helpers import assets, data, energy, training

RECEIPT = RECEIPTS / "other_data.json"
PAIR = ["other/packages_en.csv", "other/packages_de.csv"]  # a model of one is asked in the other, too
FILES = [*PAIR, "reviews/products.csv"]
SIZES = ((1_000, 1), (100, 10), (300, 3), (100, 1))  # rows and epochs; the last has too few steps
PLAN = [(name, *size, seed) for seed in range(3) for size in SIZES for name in FILES]
SETTINGS = {"batch_size": 16, "learning_rate": 1e-4, "head_learning_rate": 3e-4}  # the notebook's
LETTERS = {"tfidfvectorizer__analyzer": "char_wb", "tfidfvectorizer__ngram_range": (2, 5)}


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(assets.fetch_model())

    def make(name: str, count: int, epochs: int, seed: int) -> dict:
        files = {each: data.read_sentences(assets.DATA / each) for each in (PAIR if name in PAIR else [name])}
        files = {each: data.tokenize(rows.shuffle(seed=seed), tokenizer) for each, rows in files.items()}
        test, validation = files[name].take(500), files[name].skip(500).take(100)
        train, model = files[name].skip(600).take(count), contestants.new_model("pretrained", seed)
        with energy.measure(name, country=COUNTRY) as meter:
            training.fine_tune(model, train, validation, tokenizer, epochs=epochs, seed=seed, **SETTINGS)
        asked = {each: training.evaluate(model, some.take(500), tokenizer) for each, some in files.items()}
        answers = {each: one.predictions for each, one in asked.items()}
        known = train["text"][:], train["label"][:]
        for which, how in {"words": {}, "letters": LETTERS}.items():
            line = contestants.fit_tfidf(*known, C=30).set_params(**how).fit(*known)
            answers[which] = line.predict(test["text"][:])
        right = {who: given == asked[name].labels for who, given in answers.items()}
        digits = {who: "".join(map(str, some.astype(int))) for who, some in right.items()}
        return {"right": digits, "cost": meter.result}

    what = "the notebook's contestants with other data"
    keep = partial(save, RECEIPT, "benchmarks.other_data", what, FILES, SETTINGS)
    record(recorded(RECEIPT)[0], PLAN, ("name", "train_rows", "epochs", "seed"), make, keep)


if __name__ == "__main__":
    begin(__doc__)
    main()
