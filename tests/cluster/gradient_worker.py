"""Write the gradient of the first step of cluster/train.py, for test_cluster.py to compare."""

import runpy
import sys
from pathlib import Path

import torch

TRAIN = Path(__file__).resolve().parent.parent / "cluster" / "train.py"

if __name__ == "__main__":
    train = runpy.run_path(str(TRAIN))
    out, *arguments = sys.argv[1:]
    accelerator, model, _, _, batches = train["prepare"](train["options"](arguments))
    input_ids, attention_mask, labels = next(iter(batches(0)))
    accelerator.backward(torch.nn.functional.cross_entropy(model(input_ids, attention_mask), labels))
    if accelerator.is_main_process:
        bare = accelerator.unwrap_model(model)
        torch.save({name: weight.grad for name, weight in bare.named_parameters()}, out)
    accelerator.end_training()
    train["jobs"].leave()
