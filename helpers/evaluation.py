"""What a classifier gets right on labelled data, and how sure that is."""

import functools
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from helpers.data import batches
from helpers.machine import release_memory
from helpers.statistics import wilson


@dataclass(frozen=True)
class Evaluation:
    """How well a classifier does on labelled data.

    Examples
    --------
    >>> import numpy as np
    >>> print(Evaluation(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), seconds=0.1))
    accuracy 66.7% (95 % interval 20.8% to 93.9%), F1 0.667, 3 rows in 0.1 s
    """

    labels: np.ndarray  # int, shape (rows,)
    probabilities: np.ndarray  # float, shape (rows, classes), in the order of the data
    seconds: float = math.nan  # to predict; NaN if nobody took it

    @property
    def predictions(self) -> np.ndarray:
        """The likeliest class of each row (int)."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """Fraction that is right."""
        return float((self.predictions == self.labels).mean())

    # What follows asks SciPy or scikit-learn: some 75 MB of memory, which the accuracy alone does without.

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy: what other test sentences might have given."""
        return wilson(int((self.predictions == self.labels).sum()), len(self.labels))

    @functools.cached_property
    def f1(self) -> float:
        """Harmonic mean of precision and recall of class 1; for more than two classes the macro average."""
        from sklearn.metrics import f1_score

        average = "binary" if self.probabilities.shape[1] == 2 else "macro"
        return float(f1_score(self.labels, self.predictions, average=average, zero_division=0))

    @functools.cached_property
    def confusion(self) -> np.ndarray:
        """Counts (int, classes x classes): rows are the truth, columns the prediction."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(self.labels, self.predictions, labels=range(self.probabilities.shape[1]))

    def __str__(self) -> str:
        interval = "95 % interval {:.1%} to {:.1%}".format(*self.interval)
        took = "" if math.isnan(self.seconds) else f" in {self.seconds:.1f} s"
        return f"accuracy {self.accuracy:.1%} ({interval}), F1 {self.f1:.3f}, {len(self.labels):,} rows{took}"


def evaluate(
    model: torch.nn.Module, dataset: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int = 32
) -> Evaluation:
    """Predict every row of a tokenized dataset, in evaluation mode meanwhile, and compare with its labels."""
    loader = batches(dataset, tokenizer, batch_size, shuffle=False)
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    start = time.perf_counter()
    rows, probabilities = [], []
    with torch.inference_mode():
        for batch in loader:
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            rows.append(batch.pop("index"))
            del batch["labels"]
            probabilities.append(model(**batch).logits.float().softmax(dim=-1))
    in_order = torch.cat(probabilities)[torch.cat(rows).argsort()]
    seconds = time.perf_counter() - start
    model.train(was_training)
    release_memory(collect=False)
    return Evaluation(np.asarray(dataset["label"]), in_order.cpu().numpy(), seconds)
