"""Records “Fine-tune a BERT” with other data, for teaching/other_data.md; ten minutes on 2 cores."""

from transformers import AutoTokenizer

from benchmarks import COUNTRY, RECEIPTS, TODAY, begin, contestants, recorded, remaining, save
from helpers import assets, data, energy, training

RECEIPT = RECEIPTS / "other_data.json"
PAIR = ["other/packages_en.csv", "other/packages_de.csv"]  # a model of one is asked in the other, too
FILES = [*PAIR, "reviews/products.csv"]
KEYS = ("name", "train_rows", "epochs", "seed")
SIZES = ((1_000, 1), (100, 10), (300, 3), (100, 1))  # rows and epochs; the last has too few steps
PLAN = [(name, *size, seed) for seed in range(3) for size in SIZES for name in FILES]
SETTINGS = {"batch_size": 16, "learning_rate": 1e-4, "head_learning_rate": 3e-4}  # the notebook's
LETTERS = {"tfidfvectorizer__analyzer": "char_wb", "tfidfvectorizer__ngram_range": (2, 5)}


def main() -> None:
    tokenizer, (found, _) = AutoTokenizer.from_pretrained(assets.fetch_model()), recorded(RECEIPT)
    for name, count, epochs, seed in remaining(PLAN, found["runs"], KEYS):
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
        run = {"right": {who: "".join(map(str, some.astype(int))) for who, some in right.items()}}
        run |= dict(zip(KEYS, (name, count, epochs, seed), strict=True))
        found["runs"].append(run | {"date": TODAY, "cost": meter.result})
        what = "the notebook's contestants with other data"
        save(RECEIPT, "benchmarks.other_data", what, files=FILES, settings=SETTINGS, details=found)


if __name__ == "__main__":
    begin(__doc__)
    main()
