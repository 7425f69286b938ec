"""Records what 1,000 predictions cost, one by one padded to 128 tokens, and in batches of like length.

    python -m benchmarks.prediction    # about three minutes on 2 quiet cores

The embedded model with a fresh head: what a prediction costs does not depend on what the head has learned,
so nothing is trained and no accuracy is given. Writes data/receipts/prediction.json, which “Measure energy”
replays.
"""

import os

import torch
import transformers
from accelerate.utils import set_seed

from helpers import assets, data, energy, receipts

RECEIPT = assets.DATA / "receipts" / "prediction.json"
COUNTRY = "USA"
ROWS, BATCH_SIZE, MAX_LENGTH, SEED = 400, 32, 128, 0
ROUNDS, WINDOW_S, IDLE_S = 5, 10.0, 10.0
NAIVE, FRUGAL = "one by one, padded to 128", "like lengths in batches of 32"


def main():
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    set_seed(SEED)
    path = assets.fetch_model()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path, num_labels=2).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    texts = data.take(data.load_reviews("test"), ROWS)["text"][:]
    by_length = sorted(texts, key=lambda text: len(tokenizer(text)["input_ids"]))

    def predict(batch, padding):
        inputs = tokenizer(
            batch, padding=padding, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
        ).to(device)
        with torch.inference_mode():
            return model(**inputs).logits.argmax(dim=-1).tolist()

    def naive():
        return [predict([text], "max_length") for text in texts]

    def frugal():
        return [predict(by_length[at : at + BATCH_SIZE], "longest") for at in range(0, ROWS, BATCH_SIZE)]

    before = energy.idle(IDLE_S)
    print(before, flush=True)
    runs = energy.repeat(
        {NAIVE: naive, FRUGAL: frugal}, ROUNDS, warm_up=1, country=COUNTRY, window_s=WINDOW_S
    )
    comparison = energy.compare(runs)
    print(comparison, flush=True)
    lengths = [len(ids) for ids in tokenizer(by_length, truncation=True, max_length=MAX_LENGTH)["input_ids"]]
    batches = [lengths[at : at + BATCH_SIZE] for at in range(0, ROWS, BATCH_SIZE)]
    padded = sum(max(batch) * len(batch) for batch in batches) / ROWS
    windows = {
        NAIVE: (texts, 1, "max_length", MAX_LENGTH),
        FRUGAL: (by_length, BATCH_SIZE, "longest", padded),
    }
    figures = {"comparison": comparison, "idle before": before.reading}
    for name, (inputs, batch_size, padding, tokens) in windows.items():
        figures[name] = energy.per_1000(
            name,
            lambda batch, padding=padding: predict(batch, padding),
            inputs,
            country=COUNTRY,
            batch_size=batch_size,
            tokens=tokens,
            window_s=WINDOW_S,
        )
        print(figures[name], flush=True)
    after = energy.idle(IDLE_S)
    print(after, flush=True)
    figures["idle after"] = after.reading
    receipt = receipts.make(
        f"joules for 1,000 predictions of film reviews, over {ROWS} sentences",
        figures,
        made_by="python -m benchmarks.prediction",
        seed=SEED,
        inputs=[assets.DATA / "reviews" / "test.csv", path / "model.safetensors"],
        settings={"rows": ROWS, "max_length": MAX_LENGTH, "precision": "fp32", "threads": os.cpu_count()},
    )
    receipts.save(receipt, RECEIPT)


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count())
    main()
