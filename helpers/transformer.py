"""BERT in plain PyTorch, as in “Inside a Transformer”, and what the course changes in Transformers' BERT.

Importing Transformers' BERT takes a process about 150 MB and several seconds, which a few of them on a small
machine lack. The network is the same: tests hold its vectors equal to those of that BERT and the notebook's.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.assets import POCKET_BERT, AssetError, resolve_model

NAMES = {  # what Transformers' names become here, one after another
    "bert.": "body.",
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
    "encoder.layer": "blocks",
    "attention.self": "attention",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "feed_forward_norm",
    "cls.predictions.transform.dense": "transform",
    "cls.predictions.transform.LayerNorm": "transform_norm",
    "cls.predictions.bias": "bias",
}
STD = 0.02  # of BERT's random weights


class Attention(nn.Module):
    """Attention with several heads: each token's vector becomes a mix of the others' values."""

    def __init__(self, hidden_size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(hidden_size, hidden_size) for _ in range(3))
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix vectors (batch x length x hidden); `mask` (bool) is True where a row may look at a column."""
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A layer of BERT: attention, then a network for each token by itself; each adds to what came in."""

    def __init__(self, config: Mapping) -> None:
        super().__init__()
        hidden, inner, eps = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        self.attention = Attention(hidden, config["num_attention_heads"])
        self.attention_norm = nn.LayerNorm(hidden, eps)
        self.up, self.down = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.feed_forward_norm = nn.LayerNorm(hidden, eps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Vectors to vectors, batch x length x hidden; the mask is that of `Attention`."""
        x = self.attention_norm(x + self.attention(x, mask))
        return self.feed_forward_norm(x + self.down(F.gelu(self.up(x))))


def visible(attention_mask: Tensor, causal: bool) -> Tensor | None:
    """Say which position (row) may look at which (column): bool, batch x 1 x 1 or length x length.

    `attention_mask` (batch x length) is 0 at padding, at which nothing looks; in a `causal` model nothing
    looks at what comes after it. None, which is faster, if everything may look at everything.

    Examples
    --------
    >>> visible(torch.tensor([[1, 1, 0]]), causal=True)[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 0]]
    """
    real = attention_mask.bool()[:, None, None, :]
    if causal:
        return real & torch.ones_like(real[0, 0, 0]).expand(real.shape[-1], -1).tril()
    return None if real.all() else real


class Transformer(nn.Module):
    """BERT's encoder, or with `causal=True` a decoder; `config` has the names of BERT's config.json."""

    def __init__(self, config: Mapping) -> None:
        super().__init__()
        hidden = config["hidden_size"]
        self.words = nn.Embedding(config["vocab_size"], hidden)
        self.positions = nn.Embedding(config["max_position_embeddings"], hidden)
        self.types = nn.Embedding(config.get("type_vocab_size", 2), hidden)  # first or second sentence
        self.norm = nn.LayerNorm(hidden, config["layer_norm_eps"])
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, causal=False) -> Tensor:
        """Give a vector for each token (batch x length x hidden) of ids and mask (int64, batch x length)."""
        x = self.words(input_ids) + self.positions.weight[: input_ids.shape[1]] + self.types.weight[0]
        mask = visible(torch.ones_like(input_ids) if attention_mask is None else attention_mask, causal)
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, mask)
        return x


class LanguageModel(nn.Module):
    """A Transformer with BERT's head for masked words, or with `causal=True` for the next word.

    The head's last matrix is the table of word vectors itself ("tied weights"). New weights are as BERT's:
    normal, with a standard deviation of 0.02, and biases 0.

    Examples
    --------
    >>> shape = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 1}
    >>> sizes = {"vocab_size": 50, "max_position_embeddings": 16, "layer_norm_eps": 1e-12}
    >>> LanguageModel(shape | sizes)(torch.tensor([[2, 17, 3]])).shape
    torch.Size([1, 3, 50])
    """

    def __init__(self, config: Mapping) -> None:
        super().__init__()
        hidden = config["hidden_size"]
        self.config = dict(config)
        self.body = Transformer(config)
        self.transform = nn.Linear(hidden, hidden)
        self.transform_norm = nn.LayerNorm(hidden, config["layer_norm_eps"])
        self.bias = nn.Parameter(torch.zeros(config["vocab_size"]))
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=STD)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, causal=False) -> Tensor:
        """Give logits (batch x length x vocabulary) of ids and mask (int64, batch x length)."""
        return self.head(self.body(input_ids, attention_mask, causal))

    def head(self, x: Tensor) -> Tensor:
        """Give logits (... x vocabulary) of some of the body's vectors (... x hidden)."""
        return F.linear(self.transform_norm(F.gelu(self.transform(x))), self.body.words.weight, self.bias)


class Classifier(nn.Module):
    """A Transformer, and a head for two classes on the mean of all tokens."""

    def __init__(self, config: Mapping) -> None:
        super().__init__()
        self.body = Transformer(config)
        self.classifier = nn.Linear(config["hidden_size"], 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (float, batch x 2) of token ids and their mask (int64, batch x length)."""
        return self.classifier(mean(self.body(input_ids, attention_mask), attention_mask))


def mean(vectors: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean of each row's vectors (batch x length x hidden), padding left out."""
    real = attention_mask.unsqueeze(-1).to(vectors.dtype)
    return (vectors * real).sum(dim=1) / real.sum(dim=1)


def stored(source: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Read a BERT's folder, as Transformers saves it: its config, and its weights with the names used here.

    `source` is a path or a name of `assets.resolve_model`. The weights fit a `LanguageModel` where the folder
    has a head for masked words, and else, without "body.", a `Transformer`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(resolve_model(str(source)))
    try:
        found = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        expected = "expected a whole model.safetensors. Get it anew, or save the model in that format"
        raise AssetError(f"The weights in {folder} cannot be read ({error}): {expected}.") from error
    weights = {renamed(name): weight for name, weight in found.items()}
    return json.loads((folder / "config.json").read_text()), weights


def language_model(source: str | Path) -> LanguageModel:
    """Read the model that a folder holds, a path or a name as for `stored`."""
    config, weights = stored(source)
    model = LanguageModel(config)
    model.load_state_dict(weights)
    return model


def save(model: LanguageModel, folder: str | Path) -> None:
    """Write config and weights as Transformers' BertForMaskedLM has them; `stored` reads them."""
    from transformers import BertConfig, BertForMaskedLM

    theirs, ours = BertForMaskedLM(BertConfig.from_dict(model.config)), model.state_dict()
    weights = {name: ours[renamed(name)] for name, _ in theirs.named_parameters()}  # a tied one counts once
    theirs.load_state_dict(weights, strict=False)
    theirs.save_pretrained(folder)


def renamed(name: str) -> str:
    """Give the name here of a weight of Transformers' BERT.

    Examples
    --------
    >>> renamed("bert.encoder.layer.1.attention.self.query.weight")
    'body.blocks.1.attention.query.weight'
    """
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def load(seed: int) -> Classifier:
    """The course's own pretrained BERT, pocket-bert, with a head drawn from `seed`.

    Examples
    --------
    >>> model = load(seed=0)
    >>> model(torch.tensor([[2, 70, 3]]), torch.tensor([[1, 1, 1]])).shape
    torch.Size([1, 2])
    """
    config, weights = stored(POCKET_BERT)
    torch.manual_seed(seed)
    model = Classifier(config)
    body = {name: weight for name, weight in weights.items() if name.startswith("body.")}
    model.load_state_dict(model.state_dict() | body)
    return model


def first_position_only(model: nn.Module) -> nn.Module:
    """Let the last layer of a BERT classifier compute position 0 alone, in place; return the model.

    The head reads position 0, [CLS], alone, so logits, gradients and the names of the weights stay the same.
    `last_hidden_state` has length 1. A model that is no BERT with a pooler raises `ValueError`.
    """
    bert: Any = getattr(model, "bert", None)
    if getattr(bert, "pooler", None) is None:
        expected = "a BERT whose head reads the pooler, as BertForSequenceClassification's. Leave others be"
        raise ValueError(f"The model is a {type(model).__name__}: expected {expected}.")
    bert.encoder.layer[-1] = FirstPositionLayer(bert.encoder.layer[-1])
    return model


class FirstPositionLayer(nn.Module):
    """A layer of Transformers' BERT with one query; its parts have the names that they had."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output
        self.train(layer.training)  # a new module is in training mode, and would drop attention out

    def forward(self, hidden_states, attention_mask=None, *_, **__):
        """The layer's output (batch x 1 x hidden) from its input (batch x length x hidden)."""
        attention, first = self.attention.self, hidden_states[:, :1]
        parts = (attention.query(first), attention.key(hidden_states), attention.value(hidden_states))
        q, k, v = (part.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2) for part in parts)
        dropout = attention.dropout.p if self.training else 0.0
        mask = None if attention_mask is None else attention_mask[:, :, :1]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        attended = self.attention.output(mixed.transpose(1, 2).flatten(2), first)
        return self.output(self.intermediate(attended), attended)
