"""Make a fine-tuned BERT smaller: distil it, prune it, quantize it.

Each leaves the model that it is given as it was, and gives one that `training.evaluate` takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import prune as torch_prune
from transformers import BertPreTrainedModel, PreTrainedTokenizerBase

from helpers.compression.exporting import CompressionError, OnnxClassifier, copy_of, export, quantize
from helpers.data import batches
from helpers.values import plain, require_range

BATCH_SIZE = 32  # rows that importance is judged by at a time


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    """Loss, in nats, of a student that listens to teacher and labels (Hinton, Vinyals and Dean 2015).

    loss = alpha T² KL(p ‖ q) + (1 − alpha) CE(labels, student)

    p = softmax(teacher_logits / T) and q = softmax(student_logits / T). A temperature T > 1 makes both
    softer, so that the teacher's small probabilities count too; the factor T² makes good that it also
    divides the gradient of the first term by about that. CE, the cross-entropy, takes T = 1.

    The logits are floats of shape (batch, classes), the labels int64 of shape (batch,). T is 0.1 to 100,
    alpha the weight of the teacher's term: 0 is the labels alone, 1 the teacher alone.

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
    return alpha * temperature**2 * teacher_term + (1 - alpha) * F.cross_entropy(student_logits, labels)


def student(teacher: BertPreTrainedModel, layers: Sequence[int]) -> BertPreTrainedModel:
    """A model of some of the teacher's layers, with its embeddings and its classifier.

    The teacher's own weights let it learn in an epoch or two (Sanh et al. 2019). Layers count from 0 up:
    [0, 2, 5] makes a student of three. A teacher that is no BERT, or has no such, raises `CompressionError`.
    """
    model = copy_of(teacher)
    there, kept = model.base_model.encoder.layer, list(layers) if isinstance(layers, Sequence) else []
    if not kept or kept != sorted(set(kept) & set(range(len(there)))):
        example = list(range(0, len(there), 2))
        expected = f"different numbers from 0 to {len(there) - 1}, in rising order, such as {example}"
        raise CompressionError(f"layers is {plain(layers)!r}: expected one or more {expected}.")
    model.base_model.encoder.layer = type(there)(there[number] for number in kept)
    for number, layer in enumerate(model.base_model.encoder.layer):
        layer.attention.self.layer_idx = number
    model.config.num_hidden_layers = len(kept)
    return model


@dataclass(frozen=True)
class Importance:
    """How much each part of each layer matters: the least is removed first."""

    heads: Tensor  # float, shape (layers, heads): of the attention heads
    units: Tensor  # float, shape (layers, units): between the two matrices of the feed-forward part


def prune(model: BertPreTrainedModel, fraction: float) -> BertPreTrainedModel:
    """A copy in which the smallest weights are zero: magnitude pruning, for unstructured sparsity.

    The matrices of all encoder layers are compared together; the fraction, 0 to 1, is of their weights. They
    keep their size, so this alone makes no prediction faster; more training fills the zeros again. It raises
    `CompressionError` if the fraction is out of range, or the model is no BERT.
    """
    require_range("fraction", fraction, 0, 1, error=CompressionError)
    copied = copy_of(model)
    weights = [(linear, "weight") for linear in _linears(copied)]
    amount = float(fraction)  # torch takes a whole number as how many
    torch_prune.global_unstructured(weights, torch_prune.L1Unstructured, amount=amount)
    for linear, name in weights:
        torch_prune.remove(linear, name)  # the mask: its zeros stay in the weights
    return copied


def sparsity(model: BertPreTrainedModel) -> float:
    """Fraction of zeros, 0 to 1, among the weights that `prune` compares."""
    weights = [linear.weight for linear in _linears(model)]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


def importance(model: BertPreTrainedModel, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> Importance:
    """How much the loss of labeled rows would change without each head and each unit.

    It is the mean over batches of | sum(W * dloss/dW) |, a first-order guess, where W are the weights that
    lead out of the head or unit (Michel, Levy and Neubig 2019, who call it head importance). The rows are a
    few hundred of the training rows, from `data.tokenize`. A model that is no BERT raises `CompressionError`.
    """
    copied = copy_of(model).eval().requires_grad_(False)
    pairs = [(layer.attention.output.dense, layer.output.dense) for layer in copied.base_model.encoder.layer]
    weights = [dense.weight.requires_grad_() for pair in pairs for dense in pair]
    count = copied.base_model.encoder.layer[0].attention.self.num_attention_heads
    heads = units = 0.0
    for batch in batches(rows, tokenizer, BATCH_SIZE, shuffle=False):
        batch = {name: tensor.to(copied.device) for name, tensor in batch.items() if name != "index"}
        gradients = torch.autograd.grad(copied(**batch).loss, weights)
        saved = [(weight * gradient).detach() for weight, gradient in zip(weights, gradients, strict=True)]
        # (hidden, heads x size) to (hidden x size, heads): what belongs to a head in one column
        by_head = [matrix.unflatten(1, (count, -1)).transpose(1, 2).flatten(0, 1) for matrix in saved[::2]]
        part = len(batch["labels"]) / len(rows)
        heads = heads + part * torch.stack([matrix.sum(dim=0).abs() for matrix in by_head])
        units = units + part * torch.stack([matrix.sum(dim=0).abs() for matrix in saved[1::2]])
    return Importance(heads, units)


def shrink(
    model: BertPreTrainedModel, *, scores: Importance, heads: int | None = None, units: int | None = None
) -> BertPreTrainedModel:
    """A copy with fewer heads and feed-forward units in each layer: smaller matrices, less work.

    Every layer keeps the same number: as many as are given, at least 1, or all of them. With fewer units,
    any BERT loads what `save_pretrained` wrote; of fewer heads a BERT's config has no word. More than there
    are, scores (of `importance`) of another model, or one that is no BERT, raise `CompressionError`.
    """
    copied = copy_of(model)
    layers = copied.base_model.encoder.layer
    most = layers[0].attention.self.num_attention_heads, layers[0].intermediate.dense.out_features
    if (*scores.heads.shape, scores.units.shape[1]) != (len(layers), *most):
        given = f"{tuple(scores.heads.shape)} heads and {tuple(scores.units.shape)} units"
        has = f"{len(layers)} layers of {most[0]} heads and {most[1]} units"
        expected = "expected this model's scores, from importance()."
        raise CompressionError(f"The scores are of {given}, the model has {has}: {expected}")
    heads, units = (most[0] if heads is None else heads, most[1] if units is None else units)
    require_range("heads", heads, 1, most[0], whole=True, error=CompressionError)
    require_range("units", units, 1, most[1], whole=True, error=CompressionError)
    for number, layer in enumerate(layers):
        kept, attention = scores.heads[number].topk(heads).indices.sort().values, layer.attention.self
        size = attention.attention_head_size
        columns = (kept.unsqueeze(1) * size + torch.arange(size, device=kept.device)).flatten()
        for linear in (attention.query, attention.key, attention.value):
            _keep(linear, columns, dim=0)
        _keep(layer.attention.output.dense, columns, dim=1)
        attention.num_attention_heads, attention.all_head_size = heads, len(columns)
        kept_units = scores.units[number].topk(units).indices.sort().values
        _keep(layer.intermediate.dense, kept_units, dim=0)
        _keep(layer.output.dense, kept_units, dim=1)
    copied.config.intermediate_size = units
    return copied


def _linears(model: BertPreTrainedModel) -> list[torch.nn.Linear]:
    return [each for each in model.base_model.encoder.layer.modules() if isinstance(each, torch.nn.Linear)]


def _keep(linear: torch.nn.Linear, index: Tensor, dim: int) -> None:
    """Keep some of the outputs (dim 0) or of the inputs (dim 1)."""
    weight = linear.weight
    linear.weight = torch.nn.Parameter(weight.detach().index_select(dim, index), weight.requires_grad)
    if dim == 0:
        linear.bias = torch.nn.Parameter(linear.bias.detach()[index], linear.bias.requires_grad)
    linear.out_features, linear.in_features = linear.weight.shape
