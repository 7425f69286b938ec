"""Records the three tools of “What a token costs” on all test sentences, where the notebook takes a few.

    python -m benchmarks.right_tool    # about six minutes on 2 quiet cores

It runs the notebook's cells that are tagged "right tool"; BERT's answers are `benchmarks.compression`'s.
"""

import torch
from transformers import AutoTokenizer

from benchmarks import COUNTRY, RECEIPTS, TODAY, begin, save
from helpers import assets
from tools import notebooks

SETTINGS = {"COUNTRY": COUNTRY, "validation_rows": 400, "test_rows": 2_000}


def main() -> None:
    notebook = notebooks.read(notebooks.course()["what_a_token_costs"])
    names = notebooks.parameters(notebook) | SETTINGS | {"bert_folder": assets.fetch_model()}
    names["reader"] = AutoTokenizer.from_pretrained(names["bert_folder"])
    for cell in notebooks.tagged(notebook, "right tool"):  # the first starts a meter
        exec(cell.source, names)
    names["meter"].stop()
    run, runs = {"date": TODAY, "threads": torch.get_num_threads()}, []
    for name, right in names["correct"].items():
        answers = "".join(str(int(each)) for each in right)
        runs.append({"name": name, "cost": names["costs"][name], "test_right": answers} | run)
    tries = {name: float(share) for name, share in names["right"].items()}
    details, what = {"runs": runs, "prompts_on_validation": tries}, "who tells praise from complaint"
    files = ["reviews/validation.csv", "reviews/test.csv", "receipts/compression.json"]
    save(RECEIPTS / "right_tool.json", "benchmarks.right_tool", what, files, SETTINGS, details)


if __name__ == "__main__":
    begin(__doc__)
    main()
