"""“Fine-tune a BERT”'s loop for any number of processes, with a checkpoint. “Scale out” explains it.

python cluster/train.py                                   # one process
accelerate launch --multi_gpu --num_processes=2 --main_process_port=0 cluster/train.py  # two, no GPU needed
torchrun --standalone --nproc-per-node=2 cluster/train.py  # two
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # finds `helpers` from any folder

import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import DataLoaderConfiguration
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from cluster import checkpoints, reviews, worker
from helpers import machine, transformer


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fine-tune a BERT on one process or several.")
    parser.add_argument("--rows", type=int, default=640, help="sentences to train on")
    parser.add_argument("--batch-size", type=int, default=32, help="sentences in a step, of all processes")
    parser.add_argument("--steps", type=int, default=20, help="steps in all")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, help="folder to keep the state in, and to go on from")
    parser.add_argument("--every", type=int, default=10, help="steps between two checkpoints")
    parser.add_argument("--result", type=Path, help="JSON file for what happened")
    chosen = parser.parse_args(arguments)
    if not 1 <= chosen.batch_size <= chosen.rows:
        parser.error(f"--batch-size is {chosen.batch_size}: expected 1 to {chosen.rows}, the --rows")
    if chosen.checkpoint and chosen.checkpoint.exists() and not chosen.checkpoint.is_dir():
        parser.error(f"--checkpoint is {chosen.checkpoint}, a file: expected a folder")
    return chosen


def prepare(chosen: argparse.Namespace) -> tuple:
    """Return the accelerator, model, optimizer, schedule and batches of one process among several."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes on this machine
    cpu = torch.cuda.device_count() < here  # a GPU for each of them, or none
    # split_batches: a batch of 32 stays one of 32, and each of two processes takes 16 of it.
    split = DataLoaderConfiguration(split_batches=True)
    with machine.without_variables("ACCELERATE_"):  # another program's, or a launcher's
        accelerator = Accelerator(cpu=cpu, mixed_precision="no", dataloader_config=split)
    train = reviews.read("train", chosen.rows)
    model = transformer.load(chosen.seed)  # every process draws the same head
    optimizer = torch.optim.AdamW(model.parameters(), lr=chosen.learning_rate, fused=True)
    steps, warmup = chosen.steps, max(1, chosen.steps // 10)  # as in “Fine-tune a BERT”: up, then down to 0
    schedule = LambdaLR(optimizer, lambda n: min((n + 1) / warmup, (steps - n) / (steps - warmup + 1)))
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)

    def batches(epoch: int) -> DataLoader:  # another order in each epoch, and the same one after a restart
        return accelerator.prepare(reviews.batches(train, chosen.batch_size, chosen.seed + epoch))

    return accelerator, model, optimizer, schedule, batches


def main(chosen: argparse.Namespace) -> None:
    """Train, from the checkpoint if there is one."""
    accelerator, model, optimizer, schedule, batches = prepare(chosen)
    here, processes = accelerator.process_index, accelerator.num_processes
    print(f"process {here} of {processes} has the number {os.getpid()}")
    made_with = of_this_run(chosen, accelerator.unwrap_model(model)) if chosen.checkpoint else {}
    done = load(accelerator, chosen.checkpoint, made_with) if chosen.checkpoint else 0
    per_epoch = chosen.rows // chosen.batch_size
    losses, step_s, optimizer_s = [], [], 0.0
    accelerator.print(f"training starts at step {done}")
    start = time.perf_counter()

    model.train()
    while done < chosen.steps:
        epoch, into = divmod(done, per_epoch)
        for input_ids, attention_mask, labels in skip_first_batches(batches(epoch), into):
            loss = F.cross_entropy(model(input_ids, attention_mask), labels)
            accelerator.backward(loss)  # and here the processes take the mean of their gradients
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            before = time.perf_counter()
            optimizer.step()
            optimizer_s += time.perf_counter() - before
            schedule.step()
            optimizer.zero_grad()
            losses.append(accelerator.reduce(loss.detach(), "mean").item())
            done += 1
            step_s.append(time.perf_counter() - start - sum(step_s))
            accelerator.print(f"step {done}: loss {losses[-1]:.6f}")
            if chosen.checkpoint and done % chosen.every == 0:
                save(accelerator, chosen.checkpoint, done, made_with)
            if done == chosen.steps:
                break

    accelerator.print("training ended")
    if chosen.result and accelerator.is_main_process:
        seen = {"processes": processes, "losses": losses, "step_s": step_s, "optimizer_s": optimizer_s}
        chosen.result.write_text(json.dumps(seen))
    accelerator.end_training()


def of_this_run(chosen: argparse.Namespace, model: torch.nn.Module) -> dict:
    """What decides the steps, and so what a checkpoint has to be made with."""
    names = ("rows", "batch_size", "steps", "learning_rate", "seed")
    sentences = [(ids.tolist(), label) for ids, label in reviews.read("train", chosen.rows)]
    digests = {"training data": hashlib.sha256(repr(sentences).encode()).hexdigest()}
    digests[checkpoints.START] = checkpoints.weights_digest(model)
    return {name: getattr(chosen, name) for name in names} | digests


def save(accelerator: Accelerator, folder: Path, done: int, made_with: dict) -> None:
    """Write the state under another name, then rename it: at any moment, a whole one is there."""
    new = folder / ".new"
    if accelerator.is_main_process:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(new))  # each process its random state, the first one all the rest
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        checkpoints.seal(new, made_with)
        new.rename(folder / f"step-{done}")
        for old in set(folder.glob("step-*")) - {folder / f"step-{done}"}:
            shutil.rmtree(old)


def load(accelerator: Accelerator, folder: Path, made_with: dict) -> int:
    """Load the newest state in `folder`, and return its steps; 0 if there is none, an exit if it won't do."""
    steps = [path.name.removeprefix("step-") for path in folder.glob("step-*")]
    if done := max((int(number) for number in steps if number.isdigit()), default=0):
        try:
            checkpoints.read(folder / f"step-{done}", made_with)
        except ValueError as error:
            sys.exit(f"error: {error}")
        accelerator.load_state(str(folder / f"step-{done}"))
    return done


if __name__ == "__main__":
    worker.end_with_owner()
    worker.whole_lines()
    worker.spare_memory()
    if "OMP_NUM_THREADS" not in os.environ:  # a launcher sets it
        torch.set_num_threads(machine.cores())
    main(options())
    worker.leave()
