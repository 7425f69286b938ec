"""Distillation, and what it shares with the rest: the error, and a copy of a BERT to change."""

import copy
from collections.abc import Sequence

import torch
from torch.nn import functional as F
from transformers import BertPreTrainedModel

from helpers.values import plain, require_range


class CompressionError(ValueError):
    """A model or a setting that compression cannot use; the message says what was expected."""


def copy_of(model: BertPreTrainedModel) -> BertPreTrainedModel:
    """A copy that shares no weight with a BERT; other families, whose layers differ, are refused."""
    family = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if family != "bert":
        raise CompressionError(
            f"The model is of the family {family!r}: expected a BERT, such as BertForSequenceClassification "
            "gives. Load another one."
        )
    copied = copy.deepcopy(model)
    vars(copied).pop("forward", None)  # training leaves one on the model itself; its class has the same
    copied.zero_grad()
    return copied


def distillation_loss(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    temperature: float,
    alpha: float,
) -> torch.Tensor:
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
    require_range("temperature", temperature, 0.1, 100, error=CompressionError)
    require_range("alpha", alpha, 0, 1, error=CompressionError)
    log_p = F.log_softmax(teacher_logits / temperature, dim=-1)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    teacher_term = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    label_term = F.cross_entropy(student_logits, labels)
    return alpha * temperature**2 * teacher_term + (1 - alpha) * label_term


def student(teacher: BertPreTrainedModel, layers: Sequence[int]) -> BertPreTrainedModel:
    """A model of some of the teacher's layers, with its embeddings and its classifier.

    Starting from the teacher's own weights lets it learn in an epoch or two (Sanh et al. 2019). The layers
    are counted from 0 up: [0, 2, 5] makes a student of three. Raises `CompressionError` if the teacher is no
    BERT, or has no such layers.
    """
    model = copy_of(teacher)
    there, kept = model.base_model.encoder.layer, list(layers) if isinstance(layers, Sequence) else []
    if not kept or kept != sorted(set(kept) & set(range(len(there)))):
        raise CompressionError(
            f"layers is {plain(layers)!r}: expected one or more different numbers from 0 to "
            f"{len(there) - 1}, in rising order, such as {list(range(0, len(there), 2))}."
        )
    model.base_model.encoder.layer = type(there)(there[number] for number in kept)
    for number, layer in enumerate(model.base_model.encoder.layer):
        layer.attention.self.layer_idx = number
    model.config.num_hidden_layers = len(kept)
    return model
