"""Pruning: weights set to zero; or heads, units and words taken out, so that the matrices get smaller."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.compression.models import CompressionError, copy_of, encoder_layers
from helpers.values import replacing, require_range

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import BertPreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Importance:
    """How much each part of each layer matters: the least is removed first."""

    heads: "torch.Tensor"  # float, shape (layers, heads): of the attention heads
    units: "torch.Tensor"  # float, shape (layers, units): between the two matrices of the feed-forward part


def prune(model: "BertPreTrainedModel", fraction: float) -> "BertPreTrainedModel":
    """A copy in which the smallest weights are zero: magnitude pruning, for unstructured sparsity.

    The matrices of all encoder layers are compared together; the fraction, 0 to 1, is of their weights. They
    keep their size, so this alone makes no prediction faster; more training fills the zeros again. It raises
    `CompressionError` if the fraction is out of range, or the model is no BERT.
    """
    from torch.nn.utils import prune as torch_prune

    require_range("fraction", fraction, 0, 1, error=CompressionError)
    copied = copy_of(model)
    weights = [(linear, "weight") for linear in _linears(copied)]
    amount = float(fraction)  # torch takes a whole number as how many
    torch_prune.global_unstructured(weights, torch_prune.L1Unstructured, amount=amount)
    for linear, name in weights:
        torch_prune.remove(linear, name)  # the mask: its zeros stay in the weights
    return copied


def sparsity(model: "BertPreTrainedModel") -> float:
    """Fraction of zeros, 0 to 1, among the weights that `prune` compares."""
    weights = [linear.weight for linear in _linears(model)]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


def importance(
    model: "BertPreTrainedModel",
    rows: "Dataset | None" = None,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    batch_size: int = 32,
) -> Importance:
    """How much each head and unit matters, by its weights, or by what the loss says of labeled rows.

    Without rows, it is the norm of the weights W that lead out of it. With rows, it is the mean over
    batches of | sum(W * dloss/dW) |, the first-order guess of how much the loss changes once the head or
    unit is gone (Michel, Levy and Neubig 2019, who call it head importance). The rows are a few hundred of
    the training rows, labeled, from `data.tokenize`; without their tokenizer they raise `CompressionError`,
    as does a model that is no BERT.
    """
    import torch

    from helpers.data import batches

    copied = copy_of(model).eval().requires_grad_(False)
    weights = [weight.requires_grad_() for weight in _outward(copied)]
    if rows is None:
        return _importance(copied, [weight.detach() for weight in weights], lambda part: part.norm(dim=0))
    if tokenizer is None:
        raise CompressionError("rows came without a tokenizer: expected both, or neither.")

    heads = units = 0.0
    for batch in batches(rows, tokenizer, batch_size, shuffle=False):
        batch = {name: tensor.to(copied.device) for name, tensor in batch.items() if name != "index"}
        gradients = torch.autograd.grad(copied(**batch).loss, weights)
        saved = [(weight * gradient).detach() for weight, gradient in zip(weights, gradients, strict=True)]
        found = _importance(copied, saved, lambda part: part.sum(dim=0).abs())
        part = len(batch["labels"]) / len(rows)
        heads, units = heads + part * found.heads, units + part * found.units
    return Importance(heads, units)


def shrink(
    model: "BertPreTrainedModel",
    *,
    heads: int | None = None,
    units: int | None = None,
    scores: Importance | None = None,
) -> "BertPreTrainedModel":
    """A copy with fewer heads and feed-forward units in each layer: smaller matrices, less work.

    Every layer keeps the same number. With fewer heads, use this module's `save` and `load`: a BERT's
    config has no word for that. Raises `CompressionError` if there are not so many, if the scores are
    another model's, or if the model is no BERT.

    Parameters
    ----------
    heads, units : int, optional
        How many each layer keeps, at least 1; all of them if not given.
    scores : Importance, optional
        From `importance`; by the weights alone if not given.
    """
    copied = copy_of(model)
    scores = importance(model) if scores is None else scores
    there = (len(encoder_layers(copied)), *_size(copied))
    if (*scores.heads.shape, scores.units.shape[1]) != there:
        raise CompressionError(
            f"The scores are of {tuple(scores.heads.shape)} heads and {tuple(scores.units.shape)} units, the "
            f"model has {there[0]} layers of {there[1]} heads and {there[2]} units: expected this model's "
            "scores, from importance()."
        )
    heads, units = (there[1] if heads is None else heads, there[2] if units is None else units)
    for name, count, most in (("heads", heads, there[1]), ("units", units, there[2])):
        require_range(name, count, 1, most, whole=True, error=CompressionError)
    for number, layer in enumerate(encoder_layers(copied)):
        _keep_heads(layer, scores.heads[number].topk(heads).indices.sort().values)
        kept_units = scores.units[number].topk(units).indices.sort().values
        _keep(layer.intermediate.dense, kept_units, dim=0)
        _keep(layer.output.dense, kept_units, dim=1)
    if heads != copied.config.num_attention_heads:
        copied.config.kept_heads = heads  # num_attention_heads stays: the size of one head follows from it
    copied.config.intermediate_size = units
    return copied


def trim(
    model: "BertPreTrainedModel", rows: "Dataset", tokenizer: "PreTrainedTokenizerBase"
) -> "BertPreTrainedModel":
    """A copy that keeps the vectors of the tokens in some rows; all others read as [UNK].

    It does as much work; what gets smaller is the table of word vectors, half of a small BERT. The
    tokenizer's special tokens stay as well. Save and load it with this module: other libraries expect a
    row for each token. Raises `CompressionError` if the model is no BERT, was trimmed before, or has other
    tokens than the rows.
    """
    import torch

    copied = copy_of(model)
    embeddings = copied.base_model.embeddings
    if hasattr(copied.config, "kept_tokens"):
        raise CompressionError("The model was trimmed before: expected one with all its tokens. Trim that.")
    table = embeddings.word_embeddings.weight.detach()
    kept = sorted({token for row in rows["input_ids"][:] for token in row} | set(tokenizer.all_special_ids))
    if kept[-1] >= len(table):
        raise CompressionError(
            f"The rows hold token {kept[-1]}, the model has {len(table)}: expected rows of its own tokenizer."
        )
    words = _words(len(kept), *table.shape)
    words.place.fill_(kept.index(tokenizer.unk_token_id))
    words.place[kept] = torch.arange(len(kept))
    words.weight.data = table[kept]
    words.weight.requires_grad_(embeddings.word_embeddings.weight.requires_grad)
    embeddings.word_embeddings = words.to(table.device)
    copied.config.kept_tokens = len(kept)
    return copied


def save(model: "BertPreTrainedModel", folder: str | Path) -> None:
    """Write a model, shrunk or not, for `load`; it replaces one that is there, but no other folder."""
    folder = Path(folder)
    if folder.exists() and not (folder / "config.json").is_file():
        raise CompressionError(f"{folder} is there and holds no model: expected a new name. Choose another.")
    with replacing(folder) as new:
        model.save_pretrained(new)


def load(folder: str | Path) -> "BertPreTrainedModel":
    """Read a model that `save` wrote, in evaluation mode; a folder without one raises `CompressionError`."""
    import torch
    import transformers
    from safetensors.torch import load_model

    path = Path(folder, "model.safetensors")
    if not path.is_file():
        raise CompressionError(f"{folder} holds no model.safetensors: expected a folder that save() wrote.")
    config = transformers.BertConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0])(config)
    if hasattr(config, "kept_tokens"):
        shape = (config.vocab_size, config.hidden_size)
        model.base_model.embeddings.word_embeddings = _words(config.kept_tokens, *shape)
    kept_heads = torch.arange(getattr(config, "kept_heads", config.num_attention_heads))
    for layer in encoder_layers(model):
        _keep_heads(layer, kept_heads)
    load_model(model, path)
    return model.eval()


def _words(count: int, tokens: int, hidden_size: int) -> "torch.nn.Module":
    """Fewer word vectors than there are tokens: `place` says which row is a token's."""
    import torch
    from torch.nn import functional as F

    class Words(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("place", torch.zeros(tokens, dtype=torch.int64))
            self.weight = torch.nn.Parameter(torch.empty(count, hidden_size))

        def forward(self, input_ids: "torch.Tensor") -> "torch.Tensor":
            return F.embedding(self.place[input_ids], self.weight)

    return Words()


def _linears(model: "BertPreTrainedModel") -> list["torch.nn.Linear"]:
    from torch import nn

    return [module for module in encoder_layers(model).modules() if isinstance(module, nn.Linear)]


def _outward(model: "BertPreTrainedModel") -> list["torch.Tensor"]:
    """The matrices that lead out of heads and units, two a layer; a column is one of their numbers."""
    pairs = ((layer.attention.output.dense, layer.output.dense) for layer in encoder_layers(model))
    return [dense.weight for pair in pairs for dense in pair]


def _size(model: "BertPreTrainedModel") -> tuple[int, int]:
    """Heads and units of each layer."""
    first = encoder_layers(model)[0]
    return first.attention.self.num_attention_heads, first.intermediate.dense.out_features


def _importance(model: "BertPreTrainedModel", outward: list["torch.Tensor"], reduce) -> Importance:
    """Reduce what stands in the columns of a head, or in one column, to one number each."""
    import torch

    heads, _ = _size(model)
    # (hidden, heads x size) to (hidden x size, heads): what belongs to a head in one column
    by_head = [matrix.unflatten(1, (heads, -1)).transpose(1, 2).flatten(0, 1) for matrix in outward[::2]]
    parts = (by_head, outward[1::2])
    return Importance(*(torch.stack([reduce(matrix) for matrix in part]) for part in parts))


def _keep_heads(layer: "torch.nn.Module", kept: "torch.Tensor") -> None:
    import torch

    attention = layer.attention.self
    size = attention.attention_head_size
    columns = (kept.unsqueeze(1) * size + torch.arange(size, device=kept.device)).flatten()
    for linear in (attention.query, attention.key, attention.value):
        _keep(linear, columns, dim=0)
    _keep(layer.attention.output.dense, columns, dim=1)
    attention.num_attention_heads = len(kept)
    attention.all_head_size = len(columns)


def _keep(linear: "torch.nn.Linear", index: "torch.Tensor", dim: int) -> None:
    """Keep some of the outputs (dim 0) or of the inputs (dim 1)."""
    from torch.nn import Parameter

    weight = linear.weight
    linear.weight = Parameter(weight.detach().index_select(dim, index), weight.requires_grad)
    if dim == 0:
        linear.bias = Parameter(linear.bias.detach()[index], linear.bias.requires_grad)
    linear.out_features, linear.in_features = linear.weight.shape
