"""One plain training loop on Accelerate, and an evaluation that says how sure it is.

It knows nothing of energy: put it in a `with energy.measure(...)` block to see what it costs.
"""

import ctypes
import functools
import gc
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

LARGE_BLOCK_BYTES = 8_000_000  # of which a batch's activations have dozens; smaller ones are worth keeping
RETURN_MEMORY_STEPS = 20  # often enough that little piles up, seldom enough to cost little time


class TrainingError(ValueError):
    """A setting that training cannot use; the message says what was expected."""


@dataclass
class History:
    """What happened in training, as data.

    Attributes
    ----------
    loss : list of float
        Training loss of every step.
    epochs : list of dict
        After each epoch: `epoch`, `loss` (mean over its steps), `accuracy` (on validation),
        `seconds` (training and validation, since the start).
    stopped : str
        "end", "target" (reached early) or "interrupted".
    """

    loss: list[float] = field(default_factory=list)
    epochs: list[dict] = field(default_factory=list)
    stopped: str = "end"

    # Accelerate saves and loads an object with these two methods along with the model.
    def state_dict(self) -> dict:
        return asdict(self)

    def load_state_dict(self, state: dict) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True)
class Evaluation:
    """How well a classifier does on labelled data.

    Attributes
    ----------
    labels : numpy.ndarray of int, shape (rows,)
    probabilities : numpy.ndarray of float, shape (rows, classes)
        In the order of the data.
    seconds : float
        Time to predict.
    """

    labels: "np.ndarray"
    probabilities: "np.ndarray"
    seconds: float

    @property
    def predictions(self) -> "np.ndarray":
        """The likeliest class of each row (int)."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """Share that is right."""
        return self._right / len(self.labels)

    @property
    def _right(self) -> int:
        return int((self.predictions == self.labels).sum())

    # What follows asks SciPy or scikit-learn, which take some 75 MB of memory: a training that looks at the
    # accuracy alone does without them.

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy: what other test sentences might have given."""
        from scipy.stats import binomtest

        found = binomtest(self._right, len(self.labels)).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    @functools.cached_property
    def f1(self) -> float:
        """Harmonic mean of precision and recall of class 1; for more than two classes the macro average."""
        from sklearn.metrics import f1_score

        average = "binary" if self.probabilities.shape[1] == 2 else "macro"
        return float(f1_score(self.labels, self.predictions, average=average, zero_division=0))

    @functools.cached_property
    def confusion(self) -> "np.ndarray":
        """Counts (int, classes x classes): rows are the truth, columns the prediction."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(self.labels, self.predictions, labels=range(self.probabilities.shape[1]))

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"accuracy {self.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}), F1 {self.f1:.3f}, "
            f"{len(self.labels):,} rows in {self.seconds:.1f} s"
        )


def score(labels: "np.ndarray", probabilities: "np.ndarray", seconds: float = math.nan) -> Evaluation:
    """The `Evaluation` of any classifier's probabilities, whatever made them.

    Parameters
    ----------
    labels : array of int, shape (rows,)
    probabilities : array of float, shape (rows, classes)

    Examples
    --------
    >>> import numpy as np
    >>> print(score(np.array([0, 1, 1, 0]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]]), 0.1))
    accuracy 75.0% (95 % interval 30.1% to 95.4%), F1 0.667, 4 rows in 0.1 s
    """
    return Evaluation(labels=labels, probabilities=probabilities, seconds=seconds)


def evaluate(
    model: "torch.nn.Module", dataset: "Dataset", tokenizer: "PreTrainedTokenizerBase", batch_size: int = 32
) -> Evaluation:
    """Predict every row of a tokenized dataset and compare with its labels.

    The model is put in evaluation mode for it, and back as it was.
    """
    import numpy as np
    import torch

    from helpers.data import batches

    loader = batches(dataset, tokenizer, batch_size, shuffle=False)
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    start = time.perf_counter()
    rows, probabilities = [], []
    with torch.inference_mode():
        for batch in loader:
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            rows.append(batch.pop("index"))
            del batch["labels"]
            probabilities.append(model(**batch).logits.float().softmax(dim=-1))
    in_order = torch.cat(probabilities)[torch.cat(rows).argsort()]
    seconds = time.perf_counter() - start
    model.train(was_training)
    release_memory(collect=False)
    return score(np.asarray(dataset["label"]), in_order.cpu().numpy(), seconds)


@functools.cache
def best_precision() -> str:
    """Pick "bf16" where this machine multiplies matrices faster in it, else "no" (fp32), by measuring.

    A CPU without bf16 instructions emulates them, and can be a hundred times slower than in fp32.
    """
    import torch

    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"

    def seconds(dtype: "torch.dtype") -> float:
        matrix = torch.ones(256, 256, dtype=dtype)
        matrix @ matrix  # the first product sets things up
        start = time.perf_counter()
        matrix @ matrix
        return time.perf_counter() - start

    return "bf16" if min(seconds(torch.bfloat16) for _ in range(3)) < seconds(torch.float32) / 1.2 else "no"


def fine_tune(
    model: "torch.nn.Module",
    train: "Dataset",
    validation: "Dataset",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    epochs: int = 2,
    batch_size: int = 32,
    learning_rate: float = 1e-4,
    head_learning_rate: float | None = None,
    warmup_share: float = 0.1,
    target: float | None = None,
    seed: int = 0,
    precision: str | None = None,
    checkpoint: str | Path | None = None,
    compute_loss: "Callable[[torch.nn.Module, dict], torch.Tensor] | None" = None,
) -> History:
    """Fine-tune a classifier in place: AdamW, warm-up then linear decay, validation after each epoch.

    An interrupt (Ctrl-C, or the stop button) ends training but not the program: the history so far
    is returned with `stopped` "interrupted", and the model keeps what it learned.

    Parameters
    ----------
    model : torch.nn.Module
        Takes `input_ids`, `attention_mask` and `labels`, returns an object with `loss` and `logits`.
        Only parameters that require a gradient are trained.
    train, validation : datasets.Dataset
        From `data.tokenize`.
    head_learning_rate : float, optional
        For what fine-tuning starts anew, the classifier and the pooler before it: they have further
        to go than pretrained weights. The same as `learning_rate` if not given.
    warmup_share : float
        Share of all steps in which the learning rate rises from 0.
    target : float, optional
        Validation accuracy, 0 to 1, at which training stops early.
    precision : str, optional
        "bf16" or "no"; the faster of the two on this machine if not given.
    checkpoint : path, optional
        Folder to keep the state in after each epoch and on an interrupt. A call that finds one
        there goes on from it; it is removed once training has ended.
    compute_loss : callable, optional
        Takes the model and a batch of `data.batches`, and returns what to minimize. The model's own
        loss if not given.

    Raises
    ------
    TrainingError
        If a setting is out of range, or the checkpoint belongs to other settings.
    """
    import torch
    from accelerate import Accelerator, skip_first_batches
    from accelerate.state import AcceleratorState
    from accelerate.utils import set_seed
    from tqdm.auto import tqdm
    from transformers import get_linear_schedule_with_warmup

    from helpers.data import batches

    require_range("epochs", epochs, 1, 1_000, whole=True)
    require_range("learning_rate", learning_rate, 1e-8, 1)
    if head_learning_rate is not None:
        require_range("head_learning_rate", head_learning_rate, 1e-8, 1)
    require_range("warmup_share", warmup_share, 0, 1)
    if target is not None:
        require_range("target", target, 0, 1)
    if precision not in (None, "bf16", "no"):
        raise TrainingError(
            f"precision is {precision!r}: expected 'bf16', 'no' (fp32) or None (the faster of the two)."
        )
    precision = precision or best_precision()
    compute_loss = compute_loss or _own_loss

    AcceleratorState._reset_state()  # else the precision of the first call in this process would stay
    accelerator = Accelerator(mixed_precision=precision)
    set_seed(seed)
    per_epoch = len(batches(train, tokenizer, batch_size, shuffle=True))
    head, body = _split_head(model)
    parameters = head + body
    groups = [{"params": body}, {"params": head, "lr": head_learning_rate or learning_rate}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    steps = epochs * per_epoch
    schedule = get_linear_schedule_with_warmup(optimizer, int(warmup_share * steps), steps)
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    history = History()
    accelerator.register_for_checkpointing(history)
    settings = {
        "rows": len(train),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    settings |= {"head_learning_rate": head_learning_rate, "warmup_share": warmup_share, "seed": seed}
    if checkpoint is not None:
        _load_checkpoint(accelerator, Path(checkpoint), settings)
        history.stopped = "end"

    release_memory(collect=False)
    start = time.perf_counter() - (history.epochs[-1]["seconds"] if history.epochs else 0)
    bar = tqdm(
        total=steps, initial=len(history.loss), desc="fine-tune", unit="step", disable=quiet(), leave=False
    )
    try:
        for epoch in range(len(history.loss) // per_epoch, epochs):
            loader = accelerator.prepare(
                batches(train, tokenizer, batch_size, shuffle=True, seed=seed + epoch)
            )
            model.train()
            for batch in skip_first_batches(loader, len(history.loss) - epoch * per_epoch):
                loss = compute_loss(model, batch)
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                history.loss.append(loss.item())
                if len(history.loss) % RETURN_MEMORY_STEPS == 0:
                    release_memory(collect=False)
                bar.update()
            accuracy = evaluate(model, validation, tokenizer).accuracy
            mean_loss = sum(history.loss[-per_epoch:]) / per_epoch
            seconds = time.perf_counter() - start
            history.epochs.append(
                {"epoch": epoch + 1, "loss": mean_loss, "accuracy": accuracy, "seconds": seconds}
            )
            bar.write(
                f"epoch {epoch + 1} of {epochs}: loss {mean_loss:.3f}, "
                f"validation accuracy {accuracy:.1%}, {seconds:.0f} s"
            )
            if target is not None and accuracy >= target:
                history.stopped = "target"
                break
            if checkpoint is not None and epoch + 1 < epochs:
                _save_checkpoint(accelerator, Path(checkpoint), settings)
    except KeyboardInterrupt:
        history.stopped = "interrupted"
        kept = "The model keeps what it learned so far."
        if checkpoint is not None:
            _save_checkpoint(accelerator, Path(checkpoint), settings)
            kept = f"Its state is in {checkpoint}; the same call goes on from there."
        bar.write(f"Interrupted after step {len(history.loss)} of {steps}. {kept}")
    finally:
        bar.close()
        accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # gives the model its own forward back
        model.zero_grad()
        del optimizer, schedule
        accelerator.free_memory()  # gradients and optimizer states are three times the model's size
        release_memory()
    if checkpoint is not None and history.stopped != "interrupted":
        shutil.rmtree(checkpoint, ignore_errors=True)
    return history


def _own_loss(model: "torch.nn.Module", batch: dict) -> "torch.Tensor":
    del batch["index"]
    return model(**batch).loss


def _split_head(model: "torch.nn.Module") -> tuple[list, list]:
    """Split the trainable parameters into what fine-tuning starts anew and what was pretrained."""
    body_prefix = f"{getattr(model, 'base_model_prefix', '')}."
    head, body = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_head = not name.startswith(body_prefix) or ".pooler." in name
            (head if is_head else body).append(parameter)
    return head, body


def require_range(
    name: str,
    value: float,
    low: float,
    high: float,
    whole: bool = False,
    error: type[ValueError] = TrainingError,
) -> None:
    """Refuse a setting that is no number, or outside of `low` to `high`."""
    number = isinstance(value, int) if whole else isinstance(value, int | float)
    if isinstance(value, bool) or not number or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise error(f"{name} is {value!r}: expected {kind} from {low:g} to {high:g}.")


def release_memory(collect: bool = True) -> None:
    """Hand freed memory back to the system; glibc would keep it, and it would creep up with each batch.

    From the first call on, blocks above `LARGE_BLOCK_BYTES` go back as soon as they are freed: between
    batches of different lengths, glibc would leave holes of their sizes.

    Parameters
    ----------
    collect : bool
        Free what only cycles of references keep alive first. It takes a moment: not for every step.
    """
    if collect:
        gc.collect()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):  # other C libraries have neither
            libc.mallopt(-3, LARGE_BLOCK_BYTES)  # M_MMAP_THRESHOLD
            libc.malloc_trim(0)


def quiet() -> bool:
    """Whether to leave the bar out: a stored notebook keeps every line that a bar ever drew."""
    return os.environ.get("COURSE_STATIC") == "1"


def _save_checkpoint(accelerator, folder: Path, settings: dict) -> None:
    """Write the whole state beside `folder`, then put it in its place."""
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    accelerator.save_state(str(new))
    (new / "settings.json").write_text(json.dumps(settings))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def _load_checkpoint(accelerator, folder: Path, settings: dict) -> None:
    """Go on from `folder` if it holds a state of the same settings; start anew if it does not exist."""
    if not folder.exists():
        return
    path = folder / "settings.json"
    found = json.loads(path.read_text()) if path.is_file() else None
    if found != settings:
        other = (
            ", ".join(f"{key} {found[key]!r}" for key in settings if found[key] != settings[key])
            if found
            else "no settings"
        )
        raise TrainingError(
            f"The checkpoint {folder} was made with {other}: expected the settings of this call. "
            "Give another folder, or delete that one to start anew."
        )
    accelerator.load_state(str(folder))
