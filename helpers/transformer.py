"""BERT in plain PyTorch, and what the course changes in Transformers' BERT.

Importing Transformers' BERT takes a process about 150 MB and several seconds; two processes and their
launcher on a small machine have neither to spare. The network is the same: a test holds its answers equal to
those of `mean_classifier`.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from helpers.assets import POCKET_BERT, resolve_model

LAYER = {  # the names of a layer's parts here, and in Transformers
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}


class Bert(nn.Module):
    """BERT's encoder, as its config.json has it, and a new head for two classes on the mean of all tokens."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        hidden, eps = config["hidden_size"], config["layer_norm_eps"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], hidden)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], hidden)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], hidden)  # of two sentences
        self.norm = nn.LayerNorm(hidden, eps)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                hidden,
                config["num_attention_heads"],
                config["intermediate_size"],
                dropout=0.0,
                activation=config["hidden_act"],
                layer_norm_eps=eps,
                batch_first=True,
            )
            for _ in range(config["num_hidden_layers"])
        )
        self.classifier = nn.Linear(hidden, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits (float, batch x 2) of token ids and their mask (int64, batch x length)."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        vectors = self.word_embeddings(input_ids) + self.position_embeddings(positions)
        vectors = self.norm(vectors + self.token_type_embeddings(torch.zeros_like(input_ids)))
        for layer in self.layers:
            vectors = layer(vectors, src_key_padding_mask=attention_mask == 0)
        return self.classifier(_mean(vectors, attention_mask))


def _mean(vectors: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The mean of each row's vectors (batch x length x hidden), padding left out."""
    real = attention_mask.unsqueeze(-1).to(vectors.dtype)
    return (vectors * real).sum(dim=1) / real.sum(dim=1)


def load(seed: int) -> Bert:
    """The course's own pretrained BERT, pocket-bert, with a head drawn from `seed`.

    Examples
    --------
    >>> model = load(seed=0)
    >>> model(torch.tensor([[2, 70, 3]]), torch.tensor([[1, 1, 1]])).shape
    torch.Size([1, 2])
    """
    from safetensors.torch import load_file

    folder = Path(resolve_model(POCKET_BERT))
    torch.manual_seed(seed)
    model = Bert(json.loads((folder / "config.json").read_text()))
    stored = load_file(folder / "model.safetensors")
    weights = {f"classifier.{kind}": weight for kind, weight in model.classifier.state_dict().items()}
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        weights[f"{name}.weight"] = stored[f"bert.embeddings.{name}.weight"]
    for kind in ("weight", "bias"):
        weights[f"norm.{kind}"] = stored[f"bert.embeddings.LayerNorm.{kind}"]
        for place in range(len(model.layers)):
            ours, theirs = f"layers.{place}", f"bert.encoder.layer.{place}"
            weights |= {f"{ours}.{name}.{kind}": stored[f"{theirs}.{LAYER[name]}.{kind}"] for name in LAYER}
            three = [stored[f"{theirs}.attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            weights[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(three)  # they are one matrix here
    model.load_state_dict(weights)
    return model


def mean_classifier(source: Any) -> nn.Module:
    """Transformers' BERT with a new head for two classes on the mean of all tokens' vectors, not on [CLS]'s.

    Masked language modeling asks [CLS] nothing, so a model pretrained on that alone has put nothing there.
    `source` is a folder with weights, such as `assets.resolve_model("pocket-bert")`, or a `BertConfig`, for
    random weights.
    """
    from transformers import BertConfig, BertModel, BertPreTrainedModel
    from transformers.modeling_outputs import SequenceClassifierOutput

    class MeanClassifier(BertPreTrainedModel):
        def __init__(self, config: BertConfig) -> None:
            super().__init__(config)
            self.bert = BertModel(config, add_pooling_layer=False)
            self.classifier = nn.Linear(config.hidden_size, config.num_labels)
            self.post_init()

        def forward(self, input_ids, attention_mask, labels=None):
            hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
            logits = self.classifier(_mean(hidden, attention_mask))
            loss = None if labels is None else F.cross_entropy(logits.float(), labels)
            return SequenceClassifierOutput(loss=loss, logits=logits)

    make = MeanClassifier if isinstance(source, BertConfig) else MeanClassifier.from_pretrained
    return make(source)


def first_position_only(model: nn.Module) -> nn.Module:
    """Let the last layer of a BERT classifier compute position 0 alone, in place; return the model.

    The head reads the output at position 0, [CLS], and nothing else. The other positions are needed
    as keys and values, but the last layer's queries, its output and its feed-forward part are not: of
    its 12 hidden_size² weights a token, 10 have work for one token only. Logits, gradients and the names
    of the weights stay the same. The model's `last_hidden_state` has length 1. A model that is no BERT with a
    pooler raises `ValueError`: others may read other positions.
    """
    bert: Any = getattr(model, "bert", None)
    if getattr(bert, "pooler", None) is None:
        raise ValueError(
            f"The model is a {type(model).__name__}: expected a BERT whose head reads the pooler, such as "
            "BertForSequenceClassification. Leave other models as they are."
        )
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

        def heads(states: torch.Tensor) -> torch.Tensor:
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
