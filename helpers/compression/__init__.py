"""Make a fine-tuned BERT smaller: distil it, prune it, quantize it.

Each leaves the model that it is given as it was, and gives one that `training.evaluate` takes.

    answers = training.evaluate(teacher, train, tokenizer).probabilities
    small = compression.student(teacher, layers=[0, 2, 5])
    compression.distil(small, answers, train, validation, tokenizer, temperature=2, alpha=0.5)
    compression.export(small, "small.onnx")
    smallest = compression.quantize("small.onnx", "small-int8.onnx")
    print(training.evaluate(smallest, test, tokenizer))
"""

from helpers.compression.distilling import distil, distillation_loss, student
from helpers.compression.models import CompressionError
from helpers.compression.pruning import Importance, importance, prune, shrink, sparsity, trim
from helpers.compression.quantizing import OnnxClassifier, export, quantize, quantize_tensor

__all__ = [
    "CompressionError",
    "Importance",
    "OnnxClassifier",
    "distil",
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
