"""What distilling, pruning and quantizing share: the error, and a copy of a BERT to change."""

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import BertPreTrainedModel


class CompressionError(ValueError):
    """A model or a setting that compression cannot use; the message says what was expected."""


def copy_of(model: "BertPreTrainedModel") -> "BertPreTrainedModel":
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


def encoder_layers(model: "BertPreTrainedModel") -> "torch.nn.ModuleList":
    """The layers of a BERT's encoder, from the words up."""
    return model.base_model.encoder.layer
