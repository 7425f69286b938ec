"""Distillation: a small model learns from a large one's probabilities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers import training
from helpers.compression.models import CompressionError, copy_of, encoder_layers
from helpers.values import plain, require_range

if TYPE_CHECKING:
    import numpy as np
    import torch
    from datasets import Dataset
    from transformers import BertPreTrainedModel, PreTrainedTokenizerBase

SMALLEST_PROBABILITY = 1e-37  # near float32's smallest: a probability that became 0 has no logarithm


def distillation_loss(
    student_logits: "torch.Tensor",
    teacher_logits: "torch.Tensor",
    labels: "torch.Tensor",
    *,
    temperature: float,
    alpha: float,
) -> "torch.Tensor":
    """Loss, in nats, of a student that listens to teacher and labels (Hinton, Vinyals and Dean 2015).

    loss = alpha T² KL(p ‖ q) + (1 − alpha) CE(labels, student)

    p = softmax(teacher_logits / T) and q = softmax(student_logits / T). A temperature T > 1 makes both
    softer, so that the teacher's small probabilities count too; the factor T² makes good that it also
    divides the gradient of the first term by about that. CE, the cross-entropy, takes T = 1.

    Parameters
    ----------
    student_logits, teacher_logits : torch.Tensor, float, shape (batch, classes)
    labels : torch.Tensor, int64, shape (batch,)
    temperature, alpha : float
        T, 0.1 to 100; the weight of the teacher's term: 0 is the labels alone, 1 the teacher alone.

    Examples
    --------
    >>> import torch
    >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> distillation_loss(logits, logits, labels, temperature=4, alpha=1).item()  # the student agrees
    0.0
    """
    from torch.nn import functional as F

    require_range("temperature", temperature, 0.1, 100, error=CompressionError)
    require_range("alpha", alpha, 0, 1, error=CompressionError)
    log_p = F.log_softmax(teacher_logits / temperature, dim=-1)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    teacher_term = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    label_term = F.cross_entropy(student_logits, labels)
    return alpha * temperature**2 * teacher_term + (1 - alpha) * label_term


def student(teacher: "BertPreTrainedModel", layers: Sequence[int]) -> "BertPreTrainedModel":
    """A model of some of the teacher's layers, with its embeddings and its classifier.

    Starting from the teacher's own weights lets it learn in an epoch or two (Sanh et al. 2019). The layers
    are counted from 0 up: [0, 2, 5] makes a student of three. Raises `CompressionError` if the teacher is no
    BERT, or has no such layers.
    """
    model = copy_of(teacher)
    there, kept = encoder_layers(model), list(layers) if isinstance(layers, Sequence) else []
    if not kept or kept != sorted(set(kept) & set(range(len(there)))):
        raise CompressionError(
            f"layers is {plain(layers)!r}: expected one or more different numbers from 0 to "
            f"{len(there) - 1}, in rising order, such as {list(range(0, len(there), 2))}."
        )
    model.base_model.encoder.layer = type(there)(there[number] for number in kept)
    for number, layer in enumerate(encoder_layers(model)):
        layer.attention.self.layer_idx = number
    model.config.num_hidden_layers = len(kept)
    return model


def distil(
    student: "torch.nn.Module",
    answers: "np.ndarray",
    train: "Dataset",
    validation: "Dataset",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    temperature: float,
    alpha: float,
    **settings,
) -> training.History:
    """Train the student in place with `distillation_loss`, in the loop of `training.fine_tune`.

    A teacher is asked once, without dropout: its answers do not change from epoch to epoch. Classes or rows
    of the answers that are not those of student and data raise `CompressionError`.

    Parameters
    ----------
    student : torch.nn.Module
        From `student`, or any classifier that the tokenizer fits.
    answers : array of float, shape (rows, classes)
        The teacher's probabilities for the training rows, in their order, such as those that
        `training.evaluate` finds. One teacher can have several students.
    temperature, alpha, **settings
        Of `distillation_loss`, and of `training.fine_tune`, but no checkpoint.
    """
    import torch

    if "checkpoint" in settings:
        raise CompressionError("distil keeps no checkpoint: leave it out, and save the student at the end.")
    probabilities = torch.as_tensor(answers, dtype=torch.float32)
    if probabilities.ndim != 2 or len(probabilities) != len(train):
        raise CompressionError(
            f"The teacher's probabilities have the shape {tuple(probabilities.shape)}: expected "
            f"({len(train)}, classes), one row for each training row."
        )
    if probabilities.shape[1] != student.config.num_labels:
        raise CompressionError(
            f"The teacher tells {probabilities.shape[1]} classes apart, the student "
            f"{student.config.num_labels}: expected as many. Make the student from the teacher."
        )
    # These are the logits but for one constant a row, which every softmax takes out again.
    teacher_logits = probabilities.clamp_min(SMALLEST_PROBABILITY).log()

    def loss(model: "torch.nn.Module", batch: dict) -> "torch.Tensor":
        index, labels = batch.pop("index"), batch.pop("labels")
        logits = model(**batch).logits
        taught = teacher_logits[index.cpu()].to(logits.device)
        return distillation_loss(logits, taught, labels, temperature=temperature, alpha=alpha)

    return training.fine_tune(student, train, validation, tokenizer, compute_loss=loss, **settings)
