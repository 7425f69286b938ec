"""Records whether two headlines hold on sentences that no model was ever judged on.

    python -m benchmarks.sealed    # 90 minutes on 2 quiet cores; after an interrupt it goes on

Settings were chosen on validation, but the test split has been looked at many times since. The first ROWS
training sentences are *sealed*: no other record or notebook scores an answer to one. Models are trained anew
without each of FOLDS parts, in three seeds, by their own records' settings, and answer it, each once. CLAIMS
was written before the first call. (The last 2,000 training sentences are spent: data/receipts/sealed.json.)
"naive" is "padded to the batch" of benchmarks/recipes.py, the same training. Writes sealed_again.json there.
"""

from functools import partial
from itertools import pairwise, product

import numpy as np

from benchmarks import RECEIPTS, begin, compression, recipes, record, recorded, save
from helpers import statistics

RECEIPT = RECEIPTS / "sealed_again.json"
ROWS, FOLDS = 5_070, 3
CLAIMS = {
    "lean": {"rival": "naive", "points": 0.5},  # “Train with less”
    "small int8": {"rival": "teacher", "points": 1.0},  # “Compress the model”
}
TRAININGS = {"naive": "padded to the batch", "lean": "lean"}
MODELS = ("teacher", "small", "small int8")  # “small” learns from the teachers of all seeds


def plan() -> list[tuple[str, int, int]]:
    """Each model with the part that it is made without, and its seed; what a model rests on comes first."""
    return [*product((*TRAININGS, *MODELS), range(FOLDS), compression.SEEDS)]


def lost(runs: list[dict]) -> dict[str, tuple[float, float, float]]:
    """By claim, the share of right answers lost against its rival on all parts together, and its interval."""
    pairs = {name: (claim["rival"], name) for name, claim in CLAIMS.items()}
    shares = {name: [statistics.right_shares(runs, each) for each in pair] for name, pair in pairs.items()}
    return {name: statistics.paired_difference(*both) for name, both in shares.items()}


def main() -> None:
    def make(name: str, part: int, seed: int) -> dict:
        work = works[part]
        if name in TRAININGS:
            settings = recipes.RECIPES[TRAININGS[name]] | {"sealed": work.sealed}
            model, _, cost = recipes.run(name, settings, seed)
        else:
            cost, model = compression.made(work, name, seed)[0]["cost"], work.load(name, seed)
        answers = work.evaluate(model, "sealed").probabilities.argmax(axis=1)
        correct = answers == np.array(work.rows["sealed"]["label"])
        return {"right": "".join(str(int(each)) for each in correct), "cost": cost}

    ends = [ROWS * part // FOLDS for part in range(FOLDS + 1)]
    works = [compression.Work(range(*part)) for part in pairwise(ends)]
    found = recorded(RECEIPT)[0]
    tried = {"lean": len(recipes.RECIPES) + len(recipes.TRIES["lean"]), "small int8": compression.TRIED}
    settings = {"rows": ROWS, "parts": FOLDS, "claims": CLAIMS, "tried": tried}
    what = "accuracy of two headlines' models on sentences that nothing was judged on"
    files = ["reviews/train.csv", "reviews/validation.csv"]
    keep = partial(save, RECEIPT, "benchmarks.sealed", what, files, settings)
    record(found, plan(), ("name", "part", "seed"), make, keep)
    for name, points in lost(found["runs"]).items():
        print(f"{name}: {{points}} points may be lost to {{rival}}".format(**CLAIMS[name]), points, sep=" | ")


if __name__ == "__main__":
    begin(__doc__)
    main()
