"""Pretraining a small BERT: a vocabulary, packed text, masks, and the loop of “Pretrain a BERT”.

Like `training`, it knows nothing of energy.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from tokenizers.implementations import BertWordPieceTokenizer
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import BertTokenizer, DataCollatorForLanguageModeling, PreTrainedTokenizerBase

from helpers.machine import RETURN_MEMORY_STEPS, release_memory
from helpers.training import TrainingError, choose, new_accelerator, quiet
from helpers.transformer import LanguageModel
from helpers.values import require_range

ALPHABET = 200  # distinct characters that get tokens of their own; rarer ones become [UNK]
MASKED_FRACTION = 0.15
BETAS = (0.9, 0.98)  # AdamW's; the second is lower than usual, as in RoBERTa: runs here are short
POSITION_STD = 0.04  # twice BERT's for random weights: words grow fast, and positions must not drown
EVALUATION_ROWS = 128  # sequences a batch where no gradient is kept

Loss = Callable[[LanguageModel, torch.Tensor], torch.Tensor]


@dataclass
class PretrainingHistory:
    """What happened in pretraining, as data.

    `loss` of every step, in nats a token that was asked for; `tokens` read, masked or not; `seconds` on the
    clock; `stopped` "end" or "interrupted"; and the `optimizer`, to go on with in a later call.
    """

    loss: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    stopped: str = "end"
    optimizer: torch.optim.Optimizer | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PretrainingSettings:
    """What `pretrain` can be told and explains, checked."""

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 0
    decay_steps: int = 0
    seed: int = 0
    precision: str | None = None

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1, 10_000_000, whole=True, error=TrainingError)
        require_range("learning_rate", self.learning_rate, 1e-8, 1, error=TrainingError)
        require_range("warmup_steps", self.warmup_steps, 0, self.steps, whole=True, error=TrainingError)
        require_range("decay_steps", self.decay_steps, 0, self.steps, whole=True, error=TrainingError)


@dataclass(frozen=True)
class MaskedScore:
    """How well a model restores masked tokens.

    `loss`, the mean cross-entropy in nats of the `tokens` that were masked; `top1` and `top5`, the fractions
    of them that are the model's first guess, or one of its first five.
    """

    loss: float
    top1: float
    top5: float
    tokens: int

    def __str__(self) -> str:
        return (
            f"loss {self.loss:.2f} nats, {self.top1:.1%} right at the first guess, {self.top5:.1%} in five "
            f"({self.tokens:,} masked tokens)"
        )


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """Learn a WordPiece vocabulary in lower case, and return BERT's tokenizer with it.

    `vocab_size` counts the five special tokens as well; it raises `TrainingError` if the letters need more.

    Examples
    --------
    >>> tokenizer = train_tokenizer(["a film, a filming, a filmed play"] * 9, vocab_size=50)
    >>> tokenizer.tokenize("A film!")
    ['a', 'film', '[UNK]']
    """
    learned = BertWordPieceTokenizer(lowercase=True)
    learned.train_from_iterator(iter(texts), vocab_size, limit_alphabet=ALPHABET, show_progress=False)
    vocabulary = learned.get_vocab()
    if len(vocabulary) <= 5:
        raise TrainingError("There is no text to learn a vocabulary from: expected at least one word.")
    if len(vocabulary) > vocab_size:
        raise TrainingError(
            f"vocab_size is {vocab_size}: the letters of these texts and the special tokens alone take "
            f"{len(vocabulary)} tokens. Expected more than that; 2,000 is fair for a small model."
        )
    return BertTokenizer(vocab=vocabulary, do_lower_case=True)


def pack(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int) -> torch.Tensor:
    """Cut texts, written one after another, into sequences of one length: nothing is padding.

    Each sequence begins with [CLS]; [SEP] stands where a text ends. What is left over at the end is dropped.
    There is at least one sequence (int64, sequences x length), or it raises `TrainingError`.
    """
    require_range("length", length, 2, 100_000, whole=True, error=TrainingError)
    texts, parts = list(texts), []
    for start in range(0, len(texts), 10_000):  # as Python's lists all ids at once would take 200 MB
        rows = tokenizer(texts[start : start + 10_000], add_special_tokens=False, verbose=False)["input_ids"]
        parts.append(torch.tensor([token for row in rows for token in [*row, tokenizer.sep_token_id]]))
    tokens = torch.cat(parts) if parts else torch.tensor([], dtype=torch.long)
    count = len(tokens) // (length - 1)
    if count == 0:
        raise TrainingError(
            f"The corpus has {len(tokens)} tokens: expected at least {length - 1}, enough for one sequence "
            f"of {length}. Give more text."
        )
    body = tokens[: count * (length - 1)].view(count, length - 1)
    return torch.cat([torch.full((count, 1), tokenizer.cls_token_id), body], dim=1)


def start(config: Mapping, sequences: torch.Tensor, tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
    """Make a model with random weights that knows what counting knows, and which positions are neighbors.

    Its bias is the logarithm of each token's frequency; special tokens, never asked for, have next to none.
    """
    model = LanguageModel(config)
    counts = torch.bincount(sequences.flatten(), minlength=len(tokenizer)).clamp(min=1).float()
    counts[tokenizer.all_special_ids] = 0
    with torch.no_grad():
        model.bias.copy_((counts / counts.sum()).clamp(min=1e-9).log())
        model.body.positions.weight.copy_(sinusoids(*model.body.positions.weight.shape))
    return model


def sinusoids(length: int, hidden_size: int) -> torch.Tensor:
    """Vectors for positions that are alike where positions are near (Vaswani et al., 2017).

    From random vectors a short run never finds out which positions are neighbors, and without that a
    sentence is a bag of words. The slowest wave is some six hundred positions long. They are sines, then
    cosines (float32, length x hidden_size), with a standard deviation near `POSITION_STD`.
    """
    frequency = 100.0 ** (-torch.arange(0, hidden_size, 2) / hidden_size)
    angle = torch.arange(length).unsqueeze(1) * frequency
    return 2**0.5 * POSITION_STD * torch.cat([angle.sin(), angle.cos()], dim=1)


def masker(tokenizer: PreTrainedTokenizerBase, seed: int) -> Callable[[list], dict]:
    """Transformers' masking, which the notebook writes out: 15 % of tokens, of these 80/10/10.

    From a list of sequences to `input_ids` and `labels`, both (rows, length); -100 where nothing is asked.
    """
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED_FRACTION, seed=seed)
    collator.create_rng()  # transformers 5.15 would take a seed of 0 for none, later
    return collator


def masked(tokenizer: PreTrainedTokenizerBase, seed: int) -> Loss:
    """A loss for `pretrain`, which masks each batch anew."""
    mask = masker(tokenizer, seed)
    return lambda model, x: masked_loss(model, **mask(list(x)))


def masked_loss(model: LanguageModel, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy at the masked places, in nats. The head is computed there and nowhere else."""
    logits, truth = _at_masks(model, input_ids, labels)
    return F.cross_entropy(logits.float(), truth)


def _at_masks(model: LanguageModel, input_ids: torch.Tensor, labels: torch.Tensor) -> tuple:
    masked, device = labels != -100, model.bias.device
    return model.head(model.body(input_ids.to(device))[masked.to(device)]), labels[masked].to(device)


def causal_loss(model: LanguageModel, x: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each next token of sequences (int64, rows x length), in nats, for `pretrain`."""
    x = x.to(model.bias.device)
    logits = model(x[:, :-1], causal=True)
    return F.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten())


def evaluate_masked(
    model: LanguageModel, sequences: torch.Tensor, tokenizer: PreTrainedTokenizerBase
) -> MaskedScore:
    """Score a model on held-out sequences; the same tokens are masked every time."""
    _require_fit(model, sequences)
    batch = masker(tokenizer, seed=0)(list(sequences))
    parts = (batch[name].split(EVALUATION_ROWS) for name in ("input_ids", "labels"))
    loss = top1 = top5 = tokens = 0.0
    with torch.inference_mode():
        for input_ids, labels in zip(*parts, strict=True):
            logits, truth = _at_masks(model, input_ids, labels)
            right = logits.topk(5).indices == truth.unsqueeze(1)
            loss += F.cross_entropy(logits.float(), truth, reduction="sum").item()
            tokens += len(truth)
            top1, top5 = top1 + right[:, 0].sum().item(), top5 + right.sum().item()
    return MaskedScore(loss / tokens, top1 / tokens, top5 / tokens, int(tokens))


def guess(model: LanguageModel, tokenizer: PreTrainedTokenizerBase, sentence: str, top: int = 5) -> dict:
    """The likeliest tokens for the sentence's [MASK], each with its probability, the likeliest first."""
    input_ids = tokenizer(sentence, return_tensors="pt")["input_ids"].to(model.bias.device)
    with torch.inference_mode():
        best = model(input_ids)[input_ids == tokenizer.mask_token_id][0].softmax(dim=-1).topk(top)
    return dict(zip(tokenizer.convert_ids_to_tokens(best.indices), best.values.tolist(), strict=True))


def flops_per_token(config: Mapping, length: int, asked: float = MASKED_FRACTION) -> float:
    """Floating-point operations of training on one token: forward, and twice that backward.

    Matrix products only: a weight costs one multiplication and one addition a token, attention adds its two
    products over the sequence, and the head runs for the fraction of tokens that is `asked` for.
    """
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    weights = layers * (4 * hidden**2 + 2 * hidden * inner)
    attention = layers * 2 * length * hidden
    head = asked * (hidden**2 + hidden * config["vocab_size"])
    return 6 * (weights + attention + head)


def pretrain(
    model: LanguageModel,
    sequences: torch.Tensor,
    loss: Loss,
    *,
    steps: int,
    optimizer: torch.optim.Optimizer | None = None,
    watch: Callable[[int], None] | None = None,
    **settings,
) -> PretrainingHistory:
    """Pretrain in place: AdamW, the learning rate going up, staying, and going down.

    A long run is made in parts: the first call warms up, each goes on with the optimizer of the one
    before, and the last decays. An interrupt ends the call, and the model keeps what it learned.

    Parameters
    ----------
    sequences : torch.Tensor, int64, shape (rows, length)
        From `pack`. Batches are drawn in a random order, pass after pass.
    loss : callable
        Takes the model and a batch of sequences, gives what to minimize: `masked(tokenizer, seed)`, or
        `causal_loss`.
    optimizer : torch.optim.Optimizer, optional
        Of an earlier call's history, with the same model.
    watch : callable, optional
        Called with the number of steps made, before the first and after each; it isn't in `seconds`.
    **settings
        `batch_size` (32), `learning_rate` (1e-3), `seed` (0); `warmup_steps` and `decay_steps` (0), in which
        it rises from 0 at the start, and falls to 0 at the end; `precision`, "bf16" or "no" (fp32).
        An unknown setting raises `TrainingError`, as do model, optimizer and data that do not fit.
    """
    chosen: PretrainingSettings = choose(PretrainingSettings, {"steps": steps, **settings})
    _require_fit(model, sequences)
    require_range("batch_size", chosen.batch_size, 1, len(sequences), whole=True, error=TrainingError)
    _require_own(optimizer, model)
    accelerator = new_accelerator(chosen.precision)
    model.to(accelerator.device)
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), betas=BETAS, fused=True)
    history = PretrainingHistory(optimizer=optimizer)
    rows = batches(sequences, chosen.batch_size, chosen.seed)
    try:
        for step in tqdm(range(steps), desc="pretrain", unit="step", disable=quiet(), leave=False):
            if watch is not None:
                watch(step)
            start = time.perf_counter()
            up, down = (step + 1) / (chosen.warmup_steps + 1), (steps - step) / (chosen.decay_steps + 1)
            for group in optimizer.param_groups:
                group["lr"] = chosen.learning_rate * min(1, up, down)
            x = next(rows)
            with accelerator.autocast():
                found = loss(model, x)
            found.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            history.loss.append(found.item())
            if len(history.loss) % RETURN_MEMORY_STEPS == 0:
                release_memory(collect=False)
            history.tokens += x.numel()
            history.seconds += time.perf_counter() - start
        if watch is not None:
            watch(steps)
    except KeyboardInterrupt:
        history.stopped = "interrupted"
    finally:
        optimizer.zero_grad()
        release_memory()
    return history


def batches(sequences: torch.Tensor, batch_size: int, seed: int) -> Iterator[torch.Tensor]:
    """Batches without end: each pass in another order, what is left over at its end dropped."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(sequences), generator=generator)
        yield from (sequences[rows] for rows in order.split(batch_size) if len(rows) == batch_size)


def _require_fit(model: LanguageModel, sequences: torch.Tensor) -> None:
    """Refuse a model and sequences that do not belong together."""
    known, positions = model.config["vocab_size"], model.config["max_position_embeddings"]
    if len(sequences) == 0:
        raise TrainingError("The corpus is empty: expected at least one sequence, as from `pack`.")
    if (highest := int(sequences.max())) >= known:
        raise TrainingError(
            f"The sequences hold token {highest:,}, the model knows 0 to {known - 1:,}: they were packed "
            "with another tokenizer. Pack the text with this one."
        )
    if (length := sequences.shape[1]) > positions:
        raise TrainingError(
            f"The sequences are {length} tokens long, the model has {positions} positions: "
            f"pack with length={positions} or less."
        )


def _require_own(optimizer: torch.optim.Optimizer | None, model: LanguageModel) -> None:
    """Refuse an optimizer that moves another model's weights: this one would learn nothing."""
    groups = optimizer.param_groups if optimizer else []
    if not {id(each) for group in groups for each in group["params"]} <= set(map(id, model.parameters())):
        raise TrainingError(
            "The optimizer moves another model's weights: expected that of an earlier call with this model. "
            "Leave it out to start with a new one."
        )
