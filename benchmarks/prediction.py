"""Records what 1,000 predictions cost, one by one padded to 128 tokens, and in batches by length bucketing.

    python -m benchmarks.prediction    # about three minutes on 2 quiet cores

The embedded model with a fresh head: what a prediction costs does not depend on what the head has learned,
so nothing is trained and no accuracy is given. Writes data/receipts/prediction.json, which “Measure energy”
replays.
"""

from functools import partial

import torch
import transformers
from accelerate.utils import set_seed

from benchmarks import COUNTRY, RECEIPTS, begin
from benchmarks.serving import BATCH_SIZE, MAX_LENGTH, ONE_BY_ONE, answer
from helpers import assets, data, energy, receipts

RECEIPT = RECEIPTS / "prediction.json"
ROWS, SEED = 400, 0
ROUNDS, WINDOW_S, IDLE_S = 5, 10.0, 10.0
BUCKETED = "like lengths in batches of 32"


def main() -> None:
    set_seed(SEED)
    path = assets.fetch_model()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path, num_labels=2).eval()
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    texts = data.take(data.load_reviews("test"), ROWS)["text"][:]
    ids = dict(zip(texts, tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"], strict=True))
    by_length = sorted(texts, key=lambda text: len(ids[text]))
    batches = [by_length[at : at + BATCH_SIZE] for at in range(0, ROWS, BATCH_SIZE)]
    padded = sum(len(ids[batch[-1]]) * len(batch) for batch in batches) / ROWS
    naive = partial(answer, model=model, tokenizer=tokenizer, batch_size=1, pad_to=MAX_LENGTH)
    frugal = partial(answer, model=model, tokenizer=tokenizer)
    ways = {  # the queue, a batch, and tokens a text, padding included
        ONE_BY_ONE: (naive, texts, 1, MAX_LENGTH),
        BUCKETED: (frugal, by_length, BATCH_SIZE, padded),
    }

    before = energy.idle(IDLE_S)
    calls = {name: partial(way, texts) for name, (way, *_) in ways.items()}
    comparison = energy.compare(energy.repeat(calls, ROUNDS, country=COUNTRY, window_s=WINDOW_S))
    print(before, comparison, sep="\n", flush=True)
    figures = {"comparison": comparison, "idle before": before.reading}
    for name, (way, queue, batch_size, tokens) in ways.items():
        settings = {"batch_size": batch_size, "tokens": tokens, "window_s": WINDOW_S}
        figures[name] = energy.per_1000(name, way, queue, country=COUNTRY, **settings)
        print(figures[name], flush=True)
    figures["idle after"] = energy.idle(IDLE_S).reading
    threads = torch.get_num_threads()
    receipt = receipts.make(
        f"joules for 1,000 predictions of film reviews, over {ROWS} sentences",
        figures,
        made_by="python -m benchmarks.prediction",
        seed=SEED,
        inputs=[assets.DATA / "reviews" / "test.csv", path / "model.safetensors"],
        settings={"rows": ROWS, "max_length": MAX_LENGTH, "precision": "fp32", "threads": threads},
    )
    receipts.save(receipt, RECEIPT)


if __name__ == "__main__":
    begin()
    main()
