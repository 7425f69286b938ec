"""A classifier as an ONNX file, of fp32 or 8-bit weights; and what compression shares: an error, a copy."""

import copy
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor
from transformers import BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from helpers.values import replacing

INPUTS = ("input_ids", "attention_mask")
TOLERANCE = 1e-4  # between PyTorch's logits and ONNX Runtime's, which adds in another order


class CompressionError(ValueError):
    """A model or a setting that compression cannot use; the message says what was expected."""


def copy_of(model: BertPreTrainedModel) -> BertPreTrainedModel:
    """A copy that shares no weight with a BERT; other families, whose layers differ, are refused."""
    family = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if family != "bert":
        expected = "expected a BERT, such as BertForSequenceClassification gives. Load another one."
        raise CompressionError(f"The model is of the family {family!r}: {expected}")
    copied = copy.deepcopy(model)
    copied.zero_grad()
    return copied


class OnnxClassifier(torch.nn.Module):
    """A classifier of `export` or `quantize`, called as PyTorch's are, run by ONNX Runtime on the CPU.

    It only predicts, on as many `threads` as PyTorch has when it is made, if no other number is given. Other
    files raise `CompressionError`.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        super().__init__()
        self.path, self.device = Path(path), torch.device("cpu")
        self.where = torch.nn.Parameter(torch.empty(0))  # of the model; its weights are the file's
        if not self.path.is_file():
            raise CompressionError(f"There is no file {path}: expected one that export() wrote.")
        options = SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        how = {"providers": ["CPUExecutionProvider"], "disabled_optimizers": ["SkipLayerNormFusion"]}
        try:  # that fusion's kernel takes longer than the sum and the LayerNorm that it is made of
            self._session = InferenceSession(self.path, options, **how)
            names = {node.name for node in self._session.get_inputs()}
        except Exception as error:  # ONNX Runtime has one class for each of its reasons
            raise CompressionError(f"{path} cannot be read as an ONNX file: {error}") from error
        if names != set(INPUTS):
            expected = f"expected {' and '.join(INPUTS)}. Make the file with export()."
            raise CompressionError(f"{path} takes {', '.join(sorted(names))}: {expected}")

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """The logits (float32, batch x classes) of token ids and their mask (int64, batch x length).

        BERT's tokenizer makes `token_type_ids`, too, but they may be zeros alone: the file knows no pairs.
        """
        if token_type_ids is not None and token_type_ids.any():
            raise CompressionError("token_type_ids has ones: expected single texts, not pairs.")
        arrays = (tensor.cpu().numpy() for tensor in (input_ids, attention_mask))
        (logits,) = self._session.run(["logits"], dict(zip(INPUTS, arrays, strict=True)))
        return SequenceClassifierOutput(logits=torch.from_numpy(logits))


def export(model: BertPreTrainedModel, path: str | Path) -> OnnxClassifier:
    """Write a classifier as an ONNX file of fp32 weights, for any batch, and open it.

    It has its final name only once ONNX Runtime gave the same logits as PyTorch for a padded batch. Others,
    and a model that is no BERT classifier, raise `CompressionError`.
    """
    copied = copy_of(model).cpu().float().eval()
    if not hasattr(copied, "classifier"):
        kind = type(model).__name__
        raise CompressionError(f"{kind} has no classifier: expected BertForSequenceClassification.")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it has much to say of names of axes
    copied.config.return_dict = False  # ONNX knows tensors alone, the logits first
    copied.set_attn_implementation("eager")  # the fused one's graph also looks for rows without any token
    length = torch.export.Dim("length", max=copied.config.max_position_embeddings)
    with replacing(path) as new:
        with warnings.catch_warnings(action="ignore"):  # of packages that it does without
            torch.onnx.export(
                copied,
                _sample(copied, length=7),
                new,
                input_names=INPUTS,
                output_names=["logits"],
                dynamic_shapes=[{0: torch.export.Dim("rows"), 1: length}] * 2,
                dynamo=True,
                external_data=False,  # one file, as long as it stays below 2 GB
                verbose=False,
            )
        sample = _sample(copied, length=11)
        with torch.inference_mode():
            (expected,) = copied(*sample)
        difference = (OnnxClassifier(new)(*sample).logits - expected).abs().max().item()
        if not difference <= TOLERANCE * max(1, expected.abs().max().item()):
            found = f"ONNX Runtime's logits differ from PyTorch's by {difference:.2g}"
            advice = "Nothing was written; try the versions in requirements.txt."
            raise CompressionError(f"{found}: expected {TOLERANCE:g} or less. {advice}")
    return OnnxClassifier(path)


def quantize(onnx_path: str | Path, out_path: str | Path) -> OnnxClassifier:
    """Write an exported model with 8-bit weights, word embeddings too, and open it.

    Dynamic quantization: weights are rounded once, each column of a matrix with a scale of its own;
    activations each time, from their own range, with no data. Of 8 bits 7 are used: a processor without
    VNNI's instructions adds two products in 16 bits, and so they always fit. A file that `export` did not
    write raises `CompressionError`.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    OnnxClassifier(onnx_path)  # says so if it is none
    with replacing(out_path) as new:
        prepared = new.with_name("prepared.onnx")
        quant_pre_process(onnx_path, prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared)
        graph.graph.ClearField("value_info")  # shapes of weights that the next step transposes
        quantize_dynamic(graph, new, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    return OnnxClassifier(out_path)


def _sample(model: BertPreTrainedModel, length: int) -> tuple[Tensor, Tensor]:
    """Two sentences of any words, the second one shorter: `input_ids` and `attention_mask`."""
    input_ids = torch.arange(2 * length).reshape(2, length) % model.config.vocab_size
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, length // 2 :] = 0
    return input_ids, attention_mask
