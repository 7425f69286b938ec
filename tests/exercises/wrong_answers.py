"""Wrong answers that learners give, for `test_exercises.py`: each check must refuse its own.

A source sets `answer`; it may use math, numpy as np, torch and F.
"""

WRONG_ANSWERS = {
    "flight": ["answer = 900 / 652", "answer = 72.4", "answer = 652 - 900", "answer = 1"],
    "time_saved": [
        "answer = 0.60",
        "answer = 668 / 410 - 1",
        "answer = 668 / 410",
        "answer = 410 / 668",
        "answer = 38.6",
        "answer = 258",
    ],
    "intensity": [
        "answer = 24.7 / 433_196",
        "answer = 24.7e3 / 433_196",
        "answer = 50.5e6 / 433_196",
        "answer = 24.7e6 / 433.196",
        "answer = 433_196 / 24.7",
    ],
    "training_energy": [
        "answer = lambda n, d, rate, watts, pue: 6 * n * d / rate * watts * pue",  # joules
        "answer = lambda n, d, rate, watts, pue: 6 * n * d / rate / 3_600 * watts * pue",  # Wh
        "answer = lambda n, d, rate, watts, pue: 6 * n * d / rate * watts * pue / 1_000",
        "answer = lambda n, d, rate, watts, pue: 2 * n * d / rate * watts * pue / 3.6e6",
        "answer = lambda n, d, rate, watts, pue: 6 * n * d / rate * watts / 3.6e6",
        "answer = lambda n, d, rate, watts, pue: 6 * n * d / rate * watts / pue / 3.6e6",
        "answer = lambda n, d, rate, watts, pue: str(n)",
        "answer = 160",
    ],
    "untrained_loss": [
        "answer = 1 / 30_522",
        "answer = -math.log(30_522)",
        "answer = math.log2(30_522)",
        "answer = math.log10(30_522)",
        "answer = 30_522",
        "answer = '10.33 nats'",
        "answer = math.log",
    ],
    "causal_lm": [
        # nothing shifted, padding counted
        "answer = lambda logits, ids, mask: F.cross_entropy(logits.flatten(0, 1), ids.flatten())",
        # nothing shifted
        """
def answer(logits, ids, mask):
    return F.cross_entropy(logits[mask.bool()], ids[mask.bool()])
""",
        # padding counted
        """
def answer(logits, ids, mask):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
""",
        # shifted the wrong way
        """
def answer(logits, ids, mask):
    return F.cross_entropy(logits[:, 1:][mask[:, :-1].bool()], ids[:, :-1][mask[:, :-1].bool()])
""",
        # the mask of the position that predicts
        """
def answer(logits, ids, mask):
    return F.cross_entropy(logits[:, :-1][mask[:, :-1].bool()], ids[:, 1:][mask[:, :-1].bool()])
""",
        # zeroed, but counted
        """
def answer(logits, ids, mask):
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    return (losses * mask[:, 1:]).mean()
""",
        # not averaged
        """
def answer(logits, ids, mask):
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    return losses * mask[:, 1:]
""",
        # each sentence averaged first
        """
def answer(logits, ids, mask):
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    return ((losses * mask[:, 1:]).sum(1) / mask[:, 1:].sum(1)).mean()
""",
        "answer = lambda logits, ids, mask: logits.mean()",
        "answer = lambda logits, ids: logits.mean()",
        "answer = torch.tensor(2.0)",
    ],
    "temperature_gradient": [
        "answer = lambda z, y, T: (torch.softmax(z / T, -1) - F.one_hot(y, z.shape[1])) / len(y)",
        "answer = lambda z, y, T: (torch.softmax(z / T, -1) - F.one_hot(y, z.shape[1])) / T",
        "answer = lambda z, y, T: torch.softmax(z / T, -1) - F.one_hot(y, z.shape[1])",
        "answer = lambda z, y, T: (F.one_hot(y, z.shape[1]) - torch.softmax(z / T, -1)) / (len(y) * T)",
        "answer = lambda z, y, T: (torch.softmax(z, -1) - F.one_hot(y, z.shape[1])) / len(y)",
        "answer = lambda z, y, T: (torch.softmax(z, -1) - F.one_hot(y, z.shape[1])) / (len(y) * T)",
        "answer = lambda z, y, T: T * (torch.softmax(z / T, -1) - F.one_hot(y, z.shape[1])) / len(y)",
        "answer = lambda z, y, T: z",
        "answer = lambda z, y, T: F.cross_entropy(z / T, y)",
        "answer = lambda z, y, T: z / 0 / None",
        "answer = 0.0",
    ],
    "adam_first_step": [
        "answer = 0.001",
        "answer = -0.25",
        "answer = -0.001 * 0.1 * 250 / math.sqrt(0.001 * 250**2)",
        "answer = -0.0001",
        "answer = 0",
        "answer = 'minus the learning rate'",
    ],
    "joules": [
        "answer = 0.05 * 60",
        "answer = 0.05 / 3_600",
        "answer = '180'",
    ],
    "word_vectors": [
        "answer = 8_000 * 256 / 3_719_232",
        "answer = 30_000 * 256 / 3_719_232",
        "answer = 30_000 * 256 / (3_719_232 + 30_000 * 256)",
        "answer = 82.0",
        "answer = 0.5",
    ],
    "unigram": [
        # a piece that never occurs
        """
def answer(train_ids, held_out_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size).float()
    return -(counts / counts.sum())[held_out_ids].log().mean().item()
""",
        # one added to all
        """
def answer(train_ids, held_out_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size).float() + 1
    return -(counts / counts.sum())[held_out_ids].log().mean().item()
""",
        # the sign
        """
def answer(train_ids, held_out_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size).clamp(min=1).float()
    return (counts / counts.sum())[held_out_ids].log().mean().item()
""",
        # bits
        """
def answer(train_ids, held_out_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size).clamp(min=1).float()
    return -(counts / counts.sum())[held_out_ids].log2().mean().item()
""",
        # the entropy of the held-out ids
        """
def answer(train_ids, held_out_ids, vocab_size):
    p = torch.bincount(held_out_ids).float() / len(held_out_ids)
    return -(p * p.clamp(min=1e-9).log()).sum().item()
""",
        "answer = 1.8",
    ],
    "break_even": [
        "answer = 20 / 0.6",
        "answer = 33",
        "answer = 20 / 0.9",
        "answer = 20 / 0.3",
        "answer = 'after 34'",
    ],
    "gaps": [
        "answer = {1, 2, 11}",
        "answer = {1, 2, 9, 10, 11, 16}",
        "answer = {1, 2, 10, 11}",
        "answer = 11",
    ],
    "batch": [
        "answer = lambda rows: (rows, [[1] * len(row) for row in rows])",
        """
def answer(rows):
    longest = max(map(len, rows))
    ids = [row + [0] * (longest - len(row)) for row in rows]
    return ids, [[0] * len(row) + [1] * (longest - len(row)) for row in rows]
""",
        """
def answer(rows):
    longest = max(map(len, rows))
    ids = [[0] * (longest - len(row)) + row for row in rows]
    return ids, [[int(token > 0) for token in row] for row in ids]
""",
        """
def answer(rows):
    longest = max(map(len, rows))
    for row in rows:
        row += [0] * (longest - len(row))
    return rows, [[int(token > 0) for token in row] for row in rows]
""",
    ],
    "cpu_model": [
        "answer = lambda max_w, load, seconds: max_w * (0.1 + 0.9 * load**3) * seconds",
        "answer = lambda max_w, load, seconds: max_w * (0.1 + 0.9 * load) * seconds / 3_600",
        "answer = lambda max_w, load, seconds: max_w * 0.9 * load**3 * seconds / 3_600",
        "answer = 0.2",
    ],
    "net": [
        "answer = 21 * 6 / 3_600",
        "answer = 0.050 - 21 * 6",
        "answer = 0.050 + 21 * 6 / 3_600",
        "answer = (0.050 - 21 * 6 / 3_600) * 3_600",
    ],
    "claims": [
        'answer = {"A", "B", "E"}',
        'answer = {"B"}',
        'answer = {"E"}',
        'answer = {"B", "D", "E"}',
        'answer = {"B", "C", "E"}',
        "answer = 5",
    ],
    "tokens": [
        "answer = lambda lengths, batch_size: sum(lengths)",
        "answer = lambda lengths, batch_size: len(lengths) * max(lengths)",
        # the last batch left out
        """
def answer(lengths, batch_size):
    whole = range(0, len(lengths) - batch_size + 1, batch_size)
    return sum(batch_size * max(lengths[at : at + batch_size]) for at in whole)
""",
        # the last batch filled up
        """
def answer(lengths, batch_size):
    places = range(0, len(lengths), batch_size)
    return sum(batch_size * max(lengths[at : at + batch_size]) for at in places)
""",
        # sorted first
        """
def answer(lengths, batch_size):
    lengths = sorted(lengths)
    slices = [lengths[at : at + batch_size] for at in range(0, len(lengths), batch_size)]
    return sum(len(rows) * max(rows) for rows in slices)
""",
        # right for this list alone
        "answer = lambda lengths, batch_size: 53",
        "answer = 14",
    ],
    "lora": [
        "answer = 6 * 2 * 384 * 8",
        "answer = 2 * 2 * 384 * 8",
        "answer = 6 * 2 * 384 * 384",
        "answer = 384 * 384",
        "answer = 6 * 3 * 2 * 384 * 8",
        "answer = 0.01",
    ],
    "halving": [
        "answer = 64",
        "answer = 32",
        "answer = 15",
        "answer = 12",
        "answer = 16",
        "answer = 7",
    ],
    "scale": [
        "answer = lambda low, high, bits: ((high - low) / 2**bits, round(-low / ((high - low) / 2**bits)))",
        "answer = lambda low, high, bits: (max(-low, high) / (2 ** (bits - 1) - 1), 0)",
        "answer = lambda low, high, bits: (high / (2**bits - 1), round(-low / (high / (2**bits - 1))))",
        "answer = lambda low, high, bits: ((2**bits - 1) / (high - low), 6)",
        "answer = lambda low, high, bits: ((high - low) / 255, round(-low / ((high - low) / 255)))",
        "answer = lambda low, high, bits: ((high - low) / 15, -low / ((high - low) / 15))",
        "answer = lambda low, high, bits: ((high - low) / 15, round(low / ((high - low) / 15)))",
        "answer = lambda low, high, bits: ((high - low) / 15, 0)",
        # right for this range alone
        "answer = lambda low, high, bits: (1.6 / 15, 6)",
        "answer = lambda low, high, bits: (high - low) / (2**bits - 1)",
        "answer = 0.1",
    ],
    "cascade": [
        # the share that stays
        """
def answer(sure, cheap_right, large_right, threshold):
    stays = sure >= threshold
    return np.where(stays, cheap_right, large_right).mean(), stays.mean()
""",
        # who is exactly as sure is passed on
        """
def answer(sure, cheap_right, large_right, threshold):
    stays = sure > threshold
    return np.where(stays, cheap_right, large_right).mean(), 1 - stays.mean()
""",
        # the wrong way round
        """
def answer(sure, cheap_right, large_right, threshold):
    asked = sure < threshold
    return np.where(asked, cheap_right, large_right).mean(), asked.mean()
""",
        # counts instead of shares
        """
def answer(sure, cheap_right, large_right, threshold):
    stays = sure >= threshold
    return np.where(stays, cheap_right, large_right).sum(), (~stays).sum()
""",
        # the large one alone is scored
        """
def answer(sure, cheap_right, large_right, threshold):
    asked = sure < threshold
    return large_right[asked].mean(), asked.mean()
""",
        "answer = lambda sure, cheap_right, large_right, threshold: (0.6, 0.4)",
        "answer = lambda sure, cheap_right, large_right, threshold: 0.6",
        "answer = (0.6, 0.4)",
    ],
    "break_even": [
        "answer = 1.5 * 3_600 / 150 * 1_000",
        "answer = 1.5 * 3_600 / (150 - 30)",
        "answer = 1.5 / (150 - 30) * 1_000",
        "answer = 1.5 * 60 / (150 - 30) * 1_000",
        "answer = 1.5 * 3_600 / 30 * 1_000",
        "answer = 1.5 * 3_600 / (150 + 30) * 1_000",
        "answer = 1_000",
    ],
    "steps": [
        "answer = 221",
        "answer = 3 * 7_070 / 32",
        "answer = 3 * 7_070",
    ],
    "average": [
        "answer = lambda gradients, rows: sum(gradients) / len(gradients)",
        "answer = lambda gradients, rows: sum(r * g for r, g in zip(rows, gradients))",
        "answer = lambda gradients, rows: sum(r * g for r, g in zip(rows, gradients)) / len(rows)",
        "answer = lambda gradients, rows: sum(gradients)",
        "answer = lambda gradients, rows: gradients[0]",
        # changes what it is given
        """
def answer(gradients, rows):
    for row, gradient in zip(rows, gradients):
        gradient *= row
    return sum(gradients) / sum(rows)
""",
        "answer = 0.5",
    ],
    "machines": [
        "answer = lambda n, p: 1 / ((1 - p) + p / n)",
        "answer = lambda n, p: (1 - p) + p / n",
        "answer = lambda n, p: n",
        "answer = lambda n, p: n * p + 1 - p",
        "answer = lambda n, p: 1",
        "answer = 1.9",
    ],
    "hours": [
        "answer = lambda intensities, duration_h: sum(intensities[:duration_h]) / duration_h",
        "answer = lambda intensities, duration_h: sum(sorted(intensities)[:duration_h])",
        "answer = lambda intensities, duration_h: sum(sorted(intensities)[-duration_h:]) / duration_h",
        "answer = lambda intensities, duration_h: min(intensities)",
        "answer = lambda intensities, duration_h: 120",
        # the cleanest stretch without a pause
        """
def answer(intensities, duration_h):
    starts = range(len(intensities) - duration_h + 1)
    return min(sum(intensities[start : start + duration_h]) for start in starts) / duration_h
""",
        # sorts the list that it is given
        """
def answer(intensities, duration_h):
    intensities.sort()
    return sum(intensities[:duration_h]) / duration_h
""",
    ],
    "shares": [
        "answer = 5",
        "answer = 6",
        "answer = 2",
        "answer = 4",
        "answer = 3",
        "answer = 6.2",
        "answer = 112",
    ],
    "path": [
        "answer = 6",
        "answer = 2",
        "answer = 1",
        "answer = 0",
        "answer = 1.5",
        "answer = 'half of it'",
    ],
    "clip": [
        "answer = lambda g, C: g.mean(axis=0)",
        "answer = lambda g, C: g.clip(-C, C).mean(axis=0)",
        # short rows stretched
        """
def answer(g, C):
    length = np.linalg.norm(g, axis=1, keepdims=True)
    return (g * C / np.maximum(length, 1e-12)).mean(axis=0)
""",
        # the zeros divided by their length
        """
def answer(g, C):
    with np.errstate(all="ignore"):
        return (g * (C / np.linalg.norm(g, axis=1, keepdims=True))).mean(axis=0)
""",
        # clipped after the mean
        """
def answer(g, C):
    mean = g.mean(axis=0)
    return mean * min(1, C / np.linalg.norm(mean))
""",
        # the sum
        """
def answer(g, C):
    length = np.linalg.norm(g, axis=1, keepdims=True)
    return (g * np.minimum(1, C / np.maximum(length, 1e-12))).sum(axis=0)
""",
        # not averaged
        """
def answer(g, C):
    length = np.linalg.norm(g, axis=1, keepdims=True)
    return g * np.minimum(1, C / np.maximum(length, 1e-12))
""",
        # in place
        """
def answer(g, C):
    length = np.linalg.norm(g, axis=1, keepdims=True)
    g *= np.minimum(1, C / np.maximum(length, 1e-12))
    return g.mean(axis=0)
""",
        # for one C alone
        """
def answer(g, C):
    length = np.linalg.norm(g, axis=1, keepdims=True)
    return (g * np.minimum(1, 2 / np.maximum(length, 1e-12))).mean(axis=0)
""",
        "answer = lambda g: g.mean(axis=0)",
        "answer = 0.3",
    ],
    "invariance": [
        "answer = lambda praise, template, words: max(praise([template.format(word) for word in words]))",
        "answer = lambda praise, template, words: np.std(praise([template.format(word) for word in words]))",
        "answer = lambda praise, template, words: np.ptp(praise([template + word for word in words]))",
        "answer = lambda praise, template, words: np.ptp(praise(words))",
        "answer = lambda praise, template, words: np.ptp([praise(template.format(word)) for word in words])",
        # with the first alone
        """
def answer(praise, template, words):
    first, *others = praise([template.format(word) for word in words])
    return max(abs(other - first) for other in others)
""",
        # whether a verdict changes
        """
def answer(praise, template, words):
    return len({p > 0.5 for p in praise([template.format(word) for word in words])}) - 1
""",
        # the lowest minus the highest
        """
def answer(praise, template, words):
    p = praise([template.format(word) for word in words])
    return min(p) - max(p)
""",
        "answer = 0.7",
    ],
    "rebound": [
        "answer = 0.25",
        "answer = 0.75",
        "answer = 0.8",
        "answer = 0.5",
        "answer = 15 / 16 - 3 / 4",
        "answer = 20",
        "answer = 4",
        "answer = '20 %'",
    ],
    "job": [
        "answer = lambda train_wh, joules, n: train_wh + joules * n / 1_000",
        "answer = lambda train_wh, joules, n: train_wh + joules * n / 3_600",
        "answer = lambda train_wh, joules, n: train_wh + joules / 3_600",
        "answer = lambda train_wh, joules, n: joules * n / 1_000 / 3_600",
        "answer = lambda train_wh, joules, n: (train_wh + joules / 3_600) * n / 1_000",
        "answer = lambda train_wh, joules, n: 3_600 * train_wh + joules * n / 1_000",
        "answer = lambda train_wh, joules, n: 0.9",
        "answer = 0.9",
    ],
    "front": [
        "answer = {'A', 'B', 'C', 'E'}",
        "answer = {'A', 'C', 'D', 'E'}",
        "answer = {'A', 'C', 'E', 'F'}",
        "answer = {'C'}",
        "answer = {'C', 'E'}",
        "answer = {'A', 'G'}",
        "answer = set()",
    ],
    "caught": [
        "answer = {'A', 'B', 'C', 'D'}",
        "answer = {'A', 'B', 'C', 'E'}",
        "answer = {'A', 'B', 'C', 'F'}",
        "answer = {'B', 'C'}",
        "answer = {'A', 'C'}",
        "answer = {'A', 'B'}",
        "answer = 'all'",
    ],
    "train": [
        "answer = lambda train_set, validation_set: None",
        "answer = lambda train_set: lambda texts: [0] * len(texts)",
        "answer = lambda train_set, validation_set: lambda texts: [0] * len(texts)",
        "answer = lambda train_set, validation_set: lambda texts: ['positive'] * len(texts)",
        "answer = lambda train_set, validation_set: lambda texts: 1",
        "answer = lambda train_set, validation_set: lambda texts: np.zeros((len(texts), 2))",
        # depends on the company
        "answer = lambda train_set, valid: lambda texts: [(len(texts) + i) % 2 for i, _ in enumerate(texts)]",
        # swapped
        """
def answer(train_set, validation_set):
    right = dict(zip(validation_set["text"], validation_set["label"]))
    return lambda texts: [1 - right[text] for text in texts]
""",
    ],
}
