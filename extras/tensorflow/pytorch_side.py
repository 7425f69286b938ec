"""PyTorch's half of tensorflow.ipynb: it trains what the notebook asks for, in a process of its own.

The notebook starts it with the course's own Python and keeps it, so that loading PyTorch is in no training:

    python pytorch_side.py data.npz 1     # the notebook's arrays; how many threads

An order is one line of JSON on standard input, with what differs from `ORDER`; its answer is one line on
standard output. It ends when its input does.
"""

import contextlib
import json
import math
import sys
import time

import numpy as np
import torch
from torch import nn

ORDER = {
    "task": "digits",  # or "reviews"
    "epochs": 1,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "epsilon": 1e-8,  # of Adam
    "epsilon_hat": False,  # True: ε beside the uncorrected √v, where Keras has it
    "seed": 0,
    "vector_range": None,  # draw word vectors between minus this and this, instead of from N(0, 1)
    "start": None,  # an .npz file with the weights to start from, as Keras lists them
}


def complete(order: dict) -> dict:
    """Fill in what an order doesn't say; refuse what none can say, which would be a slip."""
    if unknown := order.keys() - ORDER.keys():
        raise ValueError(f"An order has no {', '.join(map(repr, unknown))}: expected {', '.join(ORDER)}.")
    return ORDER | order


def new_network(order: dict, arrays: dict) -> nn.Sequential:
    """The network for the order's task, with the weights that it starts from."""
    torch.manual_seed(order["seed"])
    if order["task"] == "digits":
        network = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))  # that of “Optimizers”
    else:  # the mean of a sentence's word vectors, then two scores; word 0 is padding and doesn't count
        words, size = int(arrays["words"]), int(arrays["vector_size"])
        network = nn.Sequential(nn.EmbeddingBag(words, size, mode="mean", padding_idx=0), nn.Linear(size, 2))
    if order["vector_range"] is not None:
        nn.init.uniform_(network[0].weight, -order["vector_range"], order["vector_range"])
    if order["start"] is not None:
        with np.load(order["start"]) as file, torch.no_grad():
            for weight, name in zip(network.parameters(), file.files, strict=True):
                start = torch.from_numpy(file[name])
                # A layer's matrix is (in, out) in Keras and (out, in) here; word vectors are rows in both.
                weight.copy_(start if start.shape == weight.shape else start.T)
    return network


def train(network: nn.Module, x: torch.Tensor, y: torch.Tensor, order: dict) -> tuple[list, list]:
    """Adam on the cross-entropy of mini-batches: the loss of each step, and the seconds of each epoch."""
    optimizer = torch.optim.Adam(network.parameters(), lr=order["learning_rate"], eps=order["epsilon"])
    draw = np.random.RandomState(order["seed"])
    losses, epoch_s = [], []
    for _ in range(order["epochs"]):
        began = time.perf_counter()
        for rows in torch.from_numpy(draw.permutation(len(x))).split(order["batch_size"]):
            if order["epsilon_hat"]:
                t = len(losses) + 1
                optimizer.param_groups[0]["eps"] = order["epsilon"] / math.sqrt(1 - 0.999**t)
            loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        epoch_s.append(time.perf_counter() - began)
    return losses, epoch_s


def answer(order: dict, arrays: dict) -> dict:
    """Train from the start that the order names, and look at the test split at the end."""
    tensors = [torch.from_numpy(arrays[f"{order['task']}_{name}"]) for name in ("x", "y", "test_x", "test_y")]
    x, y, test_x, test_y = (each.long() if each.ndim == 1 else each for each in tensors)
    network = new_network(order, arrays)
    spread = [weight.std().item() for weight in network.parameters()]  # of each array, before training
    losses, epoch_s = train(network, x, y, order)
    with torch.inference_mode():
        right = network(test_x).argmax(dim=1) == test_y
    found = {"losses": losses, "epoch_s": epoch_s, "accuracy": right.float().mean().item()}
    weights = sum(weight.numel() for weight in network.parameters())
    return found | {"weights": weights, "spread": spread, "torch": torch.__version__}


def main(path: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    with np.load(path) as file:
        arrays = dict(file)
    for line in sys.stdin:
        print(json.dumps(answer(complete(json.loads(line)), arrays)), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # the notebook was interrupted, and says so itself
        main(*sys.argv[1:])
