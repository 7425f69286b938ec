"""Records whether two headlines hold on sentences that no model was ever judged on.

    python -m benchmarks.sealed    # a quarter of an hour on 2 quiet cores

Settings were chosen on validation, but the test split has been looked at many times since. The last ROWS
training sentences are *sealed*: other records and notebooks train on them, and none scores an answer to one.
Here the models are trained anew without them, in three seeds, by the settings that their own records hold;
when all are made, each answers the sealed sentences, once. CLAIMS, with the points that may be lost, was
written before the first call; the receipt counts the calls.

"naive" is "padded to the batch" of benchmarks/recipes.py, which says why that is the same training. Writes
data/receipts/sealed.json, which “Train with less” and “Compress the model” show.
"""

import numpy as np

from benchmarks import RECEIPTS, TODAY, begin, compression, recipes, save, serving
from helpers import receipts, statistics

RECEIPT = RECEIPTS / "sealed.json"
ROWS = 2_000
CLAIMS = {
    "frugal": {"rival": "naive", "points": 0.5},  # “Train with less”
    "cascade": {"rival": "teacher", "points": 1.0},  # “Compress the model”
}
TRAININGS = {"naive": "padded to the batch", "frugal": "frugal"}


def trained(work: compression.Work) -> dict:
    """By contestant and seed, what making it cost and the model, the cascade's being that after its gate."""
    found, rest, rows = {}, serving.CASCADE["of"], len(work.rows["train"])
    for seed in compression.SEEDS:
        for name, recipe in TRAININGS.items():
            model, evaluations, cost = recipes.run(name, recipes.RECIPES[recipe] | {"rows": rows}, seed)
            print(name, seed, evaluations[-1]["accuracy"], cost, sep=" | ", flush=True)
            found[name, seed] = cost, model
        costs = {}
        for name in ("teacher", compression.MODELS[rest]["of"], rest):
            costs[name] = compression.made(work, name, seed)[0]["cost"]
            print(name, seed, costs[name], sep=" | ", flush=True)
        found["teacher", seed] = costs["teacher"], work.load("teacher", seed)
        found["cascade", seed] = costs[compression.MODELS[rest]["of"]], work.load(rest, seed)
    return found


def main() -> None:
    opened = receipts.replay(RECEIPT).details["opened"] if RECEIPT.is_file() else 0
    threshold = receipts.replay(RECEIPTS / "compression.json").details["cascade"]["chosen"]
    work = compression.Work(sealed_rows=ROWS)
    work.folder.mkdir(parents=True, exist_ok=True)
    gate, sealed, runs, right = serving.gate_of(work), work.rows["sealed"], [], {}
    for (name, seed), (cost, model) in trained(work).items():
        answers = work.evaluate(model, "sealed").probabilities
        if name == "cascade":
            answers = serving.combined(gate.predict_proba(sealed["text"][:]), answers, threshold)
        correct = answers.argmax(axis=1) == np.array(sealed["label"])
        right.setdefault(name, []).append(correct)
        of_each = "".join(str(int(each)) for each in correct)
        run = {"name": name, "seed": seed, "date": TODAY, "accuracy": float(correct.mean())}
        runs.append(run | {"right": of_each, "cost": cost})
    for name, claim in CLAIMS.items():
        lost = statistics.paired_difference(*(np.mean(right[who], axis=0) for who in (claim["rival"], name)))
        print(f"{name}: {claim['points']} points may be lost to {claim['rival']}", lost, sep=" | ")
    tried = {
        "frugal": len(recipes.RECIPES),
        "cascade": len(compression.MODELS) * len(serving.CASCADE["thresholds"]),
    }
    settings = {"rows": ROWS, "train_rows": len(work.rows["train"]), "threshold": threshold, "claims": CLAIMS}
    found = {"opened": opened + 1, "tried": tried, "runs": runs}
    what = "accuracy of two headlines' models on sentences that nothing was judged on"
    files = [f"reviews/{split}.csv" for split in ("train", "validation")]
    save(RECEIPT, "benchmarks.sealed", what, files, settings, found)


if __name__ == "__main__":
    begin(__doc__)
    main()
