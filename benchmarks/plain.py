"""Records the time of the course's plain Transformer against Transformers' BERT, in turns.

    python -m benchmarks.plain    # a minute on 2 quiet cores

Both have pocket-bert's weights, read packed sequences, and compute the head at masked places alone. Writes
data/receipts/plain.json.
"""

from functools import partial

import torch
import transformers

from benchmarks import COUNTRY, RECEIPTS, begin, pocket_bert, save
from helpers import assets, energy, pretraining, transformer

SETTINGS = {"rows": 32, "rounds": 10, "window_s": 2.0, "precision": "fp32"}  # neither has autocast


def main() -> None:
    torch.manual_seed(0)
    folder = assets.resolve_model(assets.POCKET_BERT)
    library, plain = transformers.BertForMaskedLM.from_pretrained(folder), transformer.language_model(folder)
    ids = torch.randint(1_000, plain.config["vocab_size"], (SETTINGS["rows"], pocket_bert.LENGTH))
    masked = torch.rand(ids.shape) < pretraining.MASKED_FRACTION
    vectors = {"plain": plain.body, "library": lambda ids: library.bert(ids).last_hidden_state}
    heads, models = {"plain": plain.head, "library": library.cls}, {"plain": plain, "library": library}
    optimizers = {n: torch.optim.AdamW(m.eval().parameters(), lr=1e-5, fused=True) for n, m in models.items()}

    def step(name: str) -> None:
        logits = heads[name](vectors[name](ids)[masked])
        torch.nn.functional.cross_entropy(logits, ids[masked]).backward()
        optimizers[name].step()
        optimizers[name].zero_grad()

    def predict(name: str) -> None:
        with torch.inference_mode():
            vectors[name](ids)

    found, how = {}, {"country": COUNTRY, "window_s": SETTINGS["window_s"]}
    for work in (step, predict):
        calls = {name: partial(work, name) for name in models}
        found[work.__name__] = energy.repeat(calls, SETTINGS["rounds"], **how)
        print(f"{work.__name__}: {energy.compare(found[work.__name__])}")
    what = "time of a plain Transformer against the library's"
    files = ["models/pocket-bert/model.safetensors"]
    save(RECEIPTS / "plain.json", "benchmarks.plain", what, files, SETTINGS, found)


if __name__ == "__main__":
    begin(__doc__)
    main()
