"""Make a fine-tuned BERT smaller: distil it, prune it, quantize it.

Each leaves the model that it is given as it was, and gives one that `training.evaluate` takes.

    small = compression.student(teacher, layers=[0, 2, 5])
    # train it with `distillation_loss`, as “Compress the model” does
    compression.export(small, "small.onnx")
    smallest = compression.quantize("small.onnx", "small-int8.onnx")
    print(training.evaluate(smallest, test, tokenizer))
"""

from helpers.compression.distilling import CompressionError, distillation_loss, student
from helpers.compression.pruning import Importance, importance, prune, shrink, sparsity, trim
from helpers.compression.quantizing import OnnxClassifier, export, quantize, quantize_tensor

__all__ = [
    "CompressionError",
    "Importance",
    "OnnxClassifier",
    "distillation_loss",
    "export",
    "importance",
    "prune",
    "quantize",
    "quantize_tensor",
    "shrink",
    "sparsity",
    "student",
    "trim",
]
