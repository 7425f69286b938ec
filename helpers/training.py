"""One plain training loop on Accelerate. It knows nothing of energy: `energy.measure` around it does."""

import contextlib
import functools
import os
import time
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from datasets import Dataset
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase, get_linear_schedule_with_warmup

from helpers.data import batches
from helpers.evaluation import Evaluation, evaluate
from helpers.machine import RETURN_MEMORY_STEPS, release_memory, without_variables
from helpers.values import require_range

score = Evaluation  # of any classifier's probabilities, whatever made them


class TrainingError(ValueError):
    """A setting that training cannot use; the message says what was expected."""


@dataclass(frozen=True)
class Settings:
    """What `fine_tune` can be told and explains, checked."""

    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 1e-4
    head_learning_rate: float | None = None
    warmup_fraction: float = 0.1
    target: float | None = None
    seed: int = 0
    precision: str | None = None

    def __post_init__(self) -> None:
        require_range("epochs", self.epochs, 1, 1_000, whole=True, error=TrainingError)
        require_range("batch_size", self.batch_size, 1, whole=True, error=TrainingError)
        require_range("learning_rate", self.learning_rate, 1e-8, 1, error=TrainingError)
        if self.head_learning_rate is not None:
            require_range("head_learning_rate", self.head_learning_rate, 1e-8, 1, error=TrainingError)
        require_range("warmup_fraction", self.warmup_fraction, 0, 1, error=TrainingError)
        if self.target is not None:
            require_range("target", self.target, 0, 1, error=TrainingError)


@dataclass
class History:
    """What happened in training, as data.

    `loss` of every step; `epochs`, for each a dict of `epoch`, `loss` (mean over its steps), `accuracy` (on
    validation) and `seconds` (since the start, all counted); `stopped` "end", "target" or "interrupted".
    """

    loss: list[float] = field(default_factory=list)
    epochs: list[dict] = field(default_factory=list)
    stopped: str = "end"


def fine_tune(
    model: torch.nn.Module,
    train: Dataset,
    validation: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    compute_loss: Callable[[torch.nn.Module, dict], torch.Tensor] | None = None,
    **settings: Any,
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
    compute_loss : callable, optional
        Takes the model and a batch of `data.batches`, returns what to minimize instead of the model's loss.
    **settings
        `epochs` (2), `batch_size` (32) and `seed` (0); `learning_rate` (1e-4), AdamW's after the warm-up, and
        `head_learning_rate`, that of the head (see `split_head`) if it is another; `warmup_fraction` (0.1)
        of the steps, in which it rises from 0; `target`, the validation accuracy, 0 to 1, at which training
        stops early; `precision`, "bf16" or "no" (fp32), else the faster. Others are a `TrainingError`.
    """
    chosen: Settings = choose(Settings, settings)
    new_batches = functools.partial(batches, train, tokenizer, chosen.batch_size, shuffle=True)
    steps = chosen.epochs * (per_epoch := len(new_batches()))
    accelerator = new_accelerator(chosen.precision)
    set_seed(chosen.seed)
    head, body = split_head(model)
    groups = [{"params": body}, {"params": head, "lr": chosen.head_learning_rate or chosen.learning_rate}]
    optimizer = torch.optim.AdamW(groups, lr=chosen.learning_rate, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, int(chosen.warmup_fraction * steps), steps)
    own_forward = {name: kept for name, kept in vars(model).items() if name == "forward"}
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    release_memory(collect=False)
    history, started = History(), time.perf_counter()
    bar = tqdm(total=steps, desc="fine-tune", unit="step", disable=quiet(), leave=False)
    try:
        for epoch in range(1, chosen.epochs + 1):
            model.train()
            for batch in accelerator.prepare(new_batches(seed=chosen.seed + epoch - 1)):
                own = {name: batch[name] for name in batch if name != "index"}
                with attention(accelerator):
                    loss = compute_loss(model, batch) if compute_loss else model(**own).loss
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(head + body, 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                history.loss.append(loss.item())
                if len(history.loss) % RETURN_MEMORY_STEPS == 0:
                    release_memory(collect=False)
                bar.update()
            accuracy = evaluate(model, validation, tokenizer).accuracy
            mean, seconds = sum(history.loss[-per_epoch:]) / per_epoch, time.perf_counter() - started
            history.epochs.append({"epoch": epoch, "loss": mean, "accuracy": accuracy, "seconds": seconds})
            found = f"loss {mean:.3f}, validation accuracy {accuracy:.1%}, {seconds:.0f} s"
            bar.write(f"epoch {epoch} of {chosen.epochs}: {found}")
            if chosen.target is not None and accuracy >= chosen.target:
                history.stopped = "target"
                break
    except KeyboardInterrupt:
        history.stopped = "interrupted"
        bar.write(f"Interrupted after step {len(history.loss)} of {steps}. The model keeps what it learned.")
    finally:
        bar.close()
        for name in ("forward", "_original_forward"):  # Accelerate's, which would be a cycle
            vars(model).pop(name, None)
        vars(model).update(own_forward)
        model.zero_grad()
        optimizer.state.clear()  # twice what the model holds; the optimizer and its schedule hold each other
        optimizer.param_groups.clear()
        release_memory(collect=False)
    return history


def split_head(model: torch.nn.Module) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Split the trainable parameters into the head, which fine-tuning starts anew, and the pretrained body.

    The head is the classifier and the pooler before it. What PEFT adds to the body's layers belongs to the
    body; a model that names no body, such as `torch.nn.Sequential`, is all head. Both are in its order.
    """
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model  # PEFT's is a wrapper
    body = getattr(whole, getattr(whole, "base_model_prefix", ""), None)
    named = body.named_parameters() if body is not None else ()
    pretrained = {id(weight) for name, weight in named if "pooler" not in name.split(".")}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    head = [weight for weight in trained if id(weight) not in pretrained]
    return head, [weight for weight in trained if id(weight) in pretrained]


@functools.cache
def best_precision() -> str:
    """Pick "bf16" where this machine multiplies matrices faster in it, else "no" (fp32), by measuring.

    A CPU without bf16 instructions emulates them, and can be a hundred times slower than in fp32.
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"

    def seconds(dtype: torch.dtype) -> float:
        matrix = torch.ones(256, 256, dtype=dtype)
        return min(timeit.repeat(lambda: matrix @ matrix, number=1, repeat=4))  # the first sets things up

    return "bf16" if seconds(torch.bfloat16) < seconds(torch.float32) / 1.2 else "no"


def choose(kind: type, given: dict[str, Any]) -> Any:
    """Make a dataclass of settings from a call's keywords; an unknown one is refused by name."""
    known = [each.name for each in fields(kind)]
    if unknown := [name for name in given if name not in known]:
        raise TrainingError(f"There is no setting {unknown[0]!r}: expected {', '.join(known)}.")
    return kind(**given)


def new_accelerator(precision: str | None) -> Accelerator:
    """Accelerate's accelerator in "bf16" or "no" (fp32), the faster of the two if None."""
    if precision not in (None, "bf16", "no"):
        raise TrainingError(f"precision is {precision!r}: expected 'bf16', 'no' (fp32), or None, the faster.")
    AcceleratorState._reset_state()  # else the precision of the first call in this process would stay
    chosen = precision or best_precision()
    with without_variables("ACCELERATE_"):  # another program's, which would compile, say, or gather gradients
        return Accelerator(mixed_precision=chosen)


@contextlib.contextmanager
def attention(accelerator: Accelerator) -> Iterator[None]:
    """What a forward pass in training stands in: in bf16 on a CPU, attention is plain products, in bf16 too.

    There the way back of PyTorch's fused attention takes a third of a step with 27 tokens a row; and plain
    products go back to fp32, which takes 5 % more memory in all, unless this says that they need not.
    """
    cuda = torch.backends.cuda  # where PyTorch keeps the switch, for CPUs too
    if accelerator.mixed_precision != "bf16" or accelerator.device.type != "cpu":
        yield
        return
    before = cuda.fp16_bf16_reduction_math_sdp_allowed()
    cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        cuda.allow_fp16_bf16_reduction_math_sdp(before)


def quiet() -> bool:
    """Whether to leave the bar out: a stored notebook keeps every line that a bar ever drew."""
    return os.environ.get("COURSE_STATIC") == "1"
