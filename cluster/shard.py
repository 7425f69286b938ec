"""What each process holds in memory: all of the model, or its share. “Scale out” explains it.

torchrun --standalone --nproc-per-node=2 cluster/shard.py
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # finds `helpers` from any folder

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from cluster import reviews, worker
from helpers import transformer

STEPS, ROWS = 3, 8


def held(tensors) -> int:
    """Add up the bytes of what is in this process; of a sharded tensor that is a part."""
    here = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
    return sum(tensor.numel() * tensor.element_size() for tensor in here)


def train(sharded: bool) -> dict:
    """Take a few steps, and return the losses and the bytes that this process holds after them."""
    model = transformer.load(seed=0)
    if sharded:
        mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
        for layer in model.body.blocks:  # a layer is gathered when its turn comes, then let go
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    else:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    mine = reviews.read("train", STEPS * ROWS * distributed.get_world_size())
    mine = mine[distributed.get_rank() :: distributed.get_world_size()]  # other sentences in each process
    losses = []
    for step in range(STEPS):
        input_ids, attention_mask, labels = reviews.pad(mine[step * ROWS : (step + 1) * ROWS])
        optimizer.zero_grad()
        loss = F.cross_entropy(model(input_ids, attention_mask), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    weights = list(model.parameters())
    states = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    found = {"sharded": sharded, "process": distributed.get_rank(), "losses": losses}
    kept = {"weights": weights, "gradients": (weight.grad for weight in weights), "optimizer": states}
    found["parameters"] = sum(weight.numel() for weight in weights)  # of the whole model, sharded or not
    return found | {name: held(tensors) for name, tensors in kept.items()}


if __name__ == "__main__":
    worker.end_with_owner()
    worker.whole_lines()
    distributed.init_process_group("gloo")
    for sharded in (False, True):
        seen = [None] * distributed.get_world_size()
        distributed.all_gather_object(seen, train(sharded))
        if distributed.get_rank() == 0:
            print(*map(json.dumps, seen), sep="\n")
    distributed.destroy_process_group()
    worker.leave()
