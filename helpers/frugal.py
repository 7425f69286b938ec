"""Fewer operations for the same answer."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification


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
