"""Make a fine-tuned BERT smaller: distil it, prune it, quantize it.

Each leaves the model that it is given as it was, and gives one that `training.evaluate` takes.

    small = compression.student(teacher, layers=[0, 2, 5])
    compression.distil(small, teacher, train, validation, tokenizer, temperature=2, alpha=0.5)
    compression.export(small, "small.onnx")
    smallest = compression.quantize("small.onnx", "small-int8.onnx")
    print(training.evaluate(smallest, test, tokenizer))
"""

from helpers.compression.distilling import distil, distillation_loss, student
from helpers.compression.models import CompressionError
from helpers.compression.pruning import Importance, importance, load, prune, save, shrink, sparsity, trim
from helpers.compression.quantizing import OnnxClassifier, Quantized, export, quantize, quantize_tensor

__all__ = [
    "CompressionError",
    "Importance",
    "OnnxClassifier",
    "Quantized",
    "distil",
    "distillation_loss",
    "export",
    "importance",
    "load",
    "prune",
    "quantize",
    "quantize_tensor",
    "save",
    "shrink",
    "sparsity",
    "student",
    "trim",
]
