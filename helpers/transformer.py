"""A small BERT classifier in plain PyTorch, with its data, for programs that several processes run at once.

Importing Transformers' BERT takes a process about 150 MB and several seconds; two processes and their
launcher on a small machine have neither to spare. The network is the same: a test holds its answers equal to
those of `transformer.mean_classifier`.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from helpers.assets import DATA, POCKET_BERT

if TYPE_CHECKING:
    from transformers import BertConfig, BertForSequenceClassification

FOLDER = DATA / "models" / POCKET_BERT
Sentences = Sequence[tuple[torch.Tensor, int]]


class Bert(nn.Module):
    """BERT's encoder and a new head for two classes on the mean of its tokens' vectors.

    Parameters
    ----------
    config : dict
        As in a BERT's config.json.
    """

    def __init__(self, config: dict) -> None:
        super().__init__()
        hidden = config["hidden_size"]
        self.words = nn.Embedding(config["vocab_size"], hidden)
        self.places = nn.Embedding(config["max_position_embeddings"], hidden)
        self.parts = nn.Embedding(config["type_vocab_size"], hidden)  # first or second sentence
        self.norm = nn.LayerNorm(hidden, config["layer_norm_eps"])
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                hidden,
                config["num_attention_heads"],
                config["intermediate_size"],
                dropout=0.0,
                activation=config["hidden_act"],
                layer_norm_eps=config["layer_norm_eps"],
                batch_first=True,
            )
            for _ in range(config["num_hidden_layers"])
        )
        self.classifier = nn.Linear(hidden, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits (float, batch x 2) of token ids and their mask (int64, batch x length)."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        vectors = self.words(input_ids) + self.places(places) + self.parts(torch.zeros_like(input_ids))
        vectors = self.norm(vectors)
        for layer in self.layers:
            vectors = layer(vectors, src_key_padding_mask=attention_mask == 0)
        real = attention_mask.unsqueeze(-1).to(vectors.dtype)
        return self.classifier((vectors * real).sum(dim=1) / real.sum(dim=1))


def load(seed: int) -> Bert:
    """The course's own pretrained BERT, pocket-bert, with a head drawn from `seed`.

    Examples
    --------
    >>> model = load(seed=0)
    >>> model(torch.tensor([[2, 70, 3]]), torch.tensor([[1, 1, 1]])).shape
    torch.Size([1, 2])
    """
    from safetensors.torch import load_file

    torch.manual_seed(seed)
    model = Bert(json.loads((FOLDER / "config.json").read_text()))
    stored = load_file(FOLDER / "model.safetensors")
    names = {"words": "word_embeddings", "places": "position_embeddings", "parts": "token_type_embeddings"}
    weights = {f"{ours}.weight": stored[f"bert.embeddings.{name}.weight"] for ours, name in names.items()}
    norms = {"norm": "bert.embeddings.LayerNorm"}
    for place in range(len(model.layers)):
        ours, theirs = f"layers.{place}", f"bert.encoder.layer.{place}"
        norms |= {
            f"{ours}.self_attn.out_proj": f"{theirs}.attention.output.dense",
            f"{ours}.norm1": f"{theirs}.attention.output.LayerNorm",
            f"{ours}.linear1": f"{theirs}.intermediate.dense",
            f"{ours}.linear2": f"{theirs}.output.dense",
            f"{ours}.norm2": f"{theirs}.output.LayerNorm",
        }
        for kind in ("weight", "bias"):  # query, key and value are one matrix here
            three = [stored[f"{theirs}.attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            weights[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(three)
    for ours, theirs in norms.items():
        weights |= {f"{ours}.{kind}": stored[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
    head = {f"classifier.{kind}": value for kind, value in model.classifier.state_dict().items()}
    model.load_state_dict(weights | head)
    return model


def read(split: str, rows: int, max_length: int = 64) -> Sentences:
    """The first `rows` sentences of the film reviews: token ids (int64) and a label each.

    Raises
    ------
    ValueError
        If the split has fewer.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    with (DATA / "reviews" / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        first = [row for row, _ in zip(csv.DictReader(file), range(rows), strict=False)]
    if len(first) < rows:
        raise ValueError(f"rows is {rows:,}: expected {len(first):,} at most, as {split}.csv has no more.")
    return [(torch.tensor(tokenizer.encode(row["text"]).ids), int(row["label"])) for row in first]


def pad(sentences: Sentences) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One batch: `input_ids` and `attention_mask` (int64, batch x longest), and labels (int64, batch)."""
    ids, labels = zip(*sentences, strict=True)
    mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
    return pad_sequence(ids, batch_first=True), mask, torch.tensor(labels)


def batches(sentences: Sentences, batch_size: int, seed: int) -> DataLoader:
    """Batches in random order, each padded to its own longest sentence.

    What is left over at an epoch's end makes no batch: several processes would fill it up, each in its way.
    """
    draw = torch.Generator().manual_seed(seed)
    return DataLoader(sentences, batch_size, shuffle=True, collate_fn=pad, generator=draw, drop_last=True)


def mean_classifier(source: "str | Path | BertConfig") -> "torch.nn.Module":
    """Make a classifier of two classes that reads the mean of all tokens' vectors, not that of [CLS].

    Masked language modeling asks [CLS] nothing, so a model pretrained on that alone has put nothing there.

    Parameters
    ----------
    source : path or BertConfig
        A folder with weights, such as `assets.resolve_model("pocket-bert")`; or a shape, for random weights.

    Returns
    -------
    torch.nn.Module
        Takes `input_ids`, `attention_mask` (int64, batch x length) and, for a loss, `labels`. Its head is
        new.

    Examples
    --------
    >>> import torch
    >>> from transformers import BertConfig
    >>> model = mean_classifier(BertConfig(vocab_size=50, hidden_size=8, num_attention_heads=2))
    >>> model(torch.tensor([[2, 7, 3]]), torch.tensor([[1, 1, 1]])).logits.shape
    torch.Size([1, 2])
    """
    import torch
    from torch.nn import functional as F
    from transformers import BertConfig, BertModel, BertPreTrainedModel
    from transformers.modeling_outputs import SequenceClassifierOutput

    class MeanClassifier(BertPreTrainedModel):
        def __init__(self, config: BertConfig) -> None:
            super().__init__(config)
            self.bert = BertModel(config, add_pooling_layer=False)
            self.classifier = torch.nn.Linear(config.hidden_size, config.num_labels)
            self.post_init()

        def forward(self, input_ids, attention_mask, labels=None):
            hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
            real = attention_mask.unsqueeze(-1).to(hidden.dtype)
            logits = self.classifier((hidden * real).sum(dim=1) / real.sum(dim=1))
            loss = None if labels is None else F.cross_entropy(logits.float(), labels)
            return SequenceClassifierOutput(loss=loss, logits=logits)

    if isinstance(source, BertConfig):
        return MeanClassifier(source)
    return MeanClassifier.from_pretrained(source)


def first_position_only(model: "BertForSequenceClassification") -> "BertForSequenceClassification":
    """Let the last layer of a BERT classifier compute position 0 alone, in place; return the model.

    The head reads the output at position 0, [CLS], and nothing else. The other positions are needed
    as keys and values, but the last layer's queries, its output and its feed-forward part are not: of
    its 12 hidden_size² weights a token, 10 have work for one token only. Logits and gradients
    stay the same, and so do the names of the weights. The model's `last_hidden_state` has length 1.

    Raises
    ------
    ValueError
        If the model is no BERT with a pooler: others may read other positions.

    Examples
    --------
    >>> import torch
    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> config = BertConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    >>> model = BertForSequenceClassification(config).eval()
    >>> ids = torch.randint(1_000, (4, 10))
    >>> before = model(ids).logits
    >>> torch.allclose(first_position_only(model)(ids).logits, before, atol=1e-6)
    True
    """
    from torch import nn
    from torch.nn import functional as F

    bert = getattr(model, "bert", None)
    if getattr(bert, "pooler", None) is None:
        raise ValueError(
            f"The model is a {type(model).__name__}: expected a BERT whose head reads the pooler, such as "
            "BertForSequenceClassification. Leave other models as they are."
        )

    class FirstPositionLayer(nn.Module):
        """A layer of BERT with one query; its parts have the names that they had."""

        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output
            self.train(layer.training)  # a new module is in training mode, and would drop attention out

        def forward(self, hidden_states, attention_mask=None, *_, **__):
            attention, first = self.attention.self, hidden_states[:, :1]

            def heads(states):
                return states.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)

            mixed = F.scaled_dot_product_attention(
                heads(attention.query(first)),
                heads(attention.key(hidden_states)),
                heads(attention.value(hidden_states)),
                attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
                dropout_p=attention.dropout.p if self.training else 0.0,
            )
            attended = self.attention.output(mixed.transpose(1, 2).flatten(2), first)
            return self.output(self.intermediate(attended), attended)

    layers = bert.encoder.layer
    layers[-1] = FirstPositionLayer(layers[-1])
    return model
