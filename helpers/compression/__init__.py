"""Make a fine-tuned BERT smaller: distil it, prune it, quantize it.

Each is one call, leaves the model that it is given as it was, and gives one that is called in the same
way, so `training.evaluate` takes them all. What a smaller model saves is for `energy` to measure.

    small = compression.student(teacher, layers=[0, 2, 5])
    compression.distil(small, teacher, train, validation, tokenizer, temperature=2, share=0.5)
    compression.export(small, "small.onnx")
    smallest = compression.quantize("small.onnx", "small-int8.onnx")
    print(training.evaluate(smallest, test, tokenizer))
"""

from helpers.compression.distilling import distil, distillation_loss, student
from helpers.compression.models import CompressionError
from helpers.compression.pruning import Importance, importance, load, prune, save, shrink, trim, zeros
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
    "student",
    "trim",
    "zeros",
]
