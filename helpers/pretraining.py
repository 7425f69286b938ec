"""Pretraining a small BERT: a vocabulary, packed text, masks, and the loop of “Pretrain a BERT”.

Like `training`, it knows nothing of energy.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from tokenizers.implementations import BertWordPieceTokenizer
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerBase,
)

from helpers.machine import RETURN_MEMORY_STEPS, release_memory
from helpers.training import TrainingError, choose, new_accelerator, quiet
from helpers.values import require_range

ALPHABET = 200  # distinct characters that get tokens of their own; rarer ones become [UNK]
MASKED_FRACTION = 0.15
BETAS = (0.9, 0.98)  # AdamW's; the second is lower than usual, as in RoBERTa: runs here are short
POSITION_STD = 0.04  # twice BERT's for random weights: words grow fast, and positions must not drown
EVALUATION_ROWS = 128  # sequences a batch where no gradient is kept


@dataclass
class PretrainingHistory:
    """What happened in pretraining, as data.

    `loss` of every step, in nats a masked token; `tokens` read, masked or not; `seconds` on the clock;
    `stopped` "end" or "interrupted"; and the `optimizer`, to go on with in a later call.
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
            f"{len(vocabulary)} tokens. Expected more than that; 8,000 is fair for a small model."
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
    """Transformers' masking as the notebook writes it out: 15 % of tokens, of these 80/10/10.

    From a list of sequences to `input_ids` and `labels`, both (rows, length); -100 where nothing is asked.
    """
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED_FRACTION, seed=seed)
    collator.create_rng()  # transformers 5.15 would take a seed of 0 for none, later
    return collator


def masked_batches(
    sequences: torch.Tensor, tokenizer: PreTrainedTokenizerBase, batch_size: int, seed: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Masked batches without end: each pass in another order, and with other masks."""
    order, mask = torch.Generator().manual_seed(seed), masker(tokenizer, seed)
    loader = DataLoader(sequences, batch_size, shuffle=True, drop_last=True, collate_fn=mask, generator=order)
    while True:
        yield from loader


def masked_loss(model: BertForMaskedLM, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy at the masked places, in nats. The head is computed there and nowhere else.

    `model(input_ids, labels=labels).loss` is the same number at seven times the head's work.
    """
    logits, truth = _at_masks(model, input_ids, labels)
    return F.cross_entropy(logits.float(), truth)


def _at_masks(model: BertForMaskedLM, input_ids: torch.Tensor, labels: torch.Tensor) -> tuple:
    masked = labels != -100
    return model.cls(model.bert(input_ids).last_hidden_state[masked]), labels[masked]


def evaluate_masked(
    model: BertForMaskedLM, sequences: torch.Tensor, tokenizer: PreTrainedTokenizerBase
) -> MaskedScore:
    """Score a model on held-out sequences; the same tokens are masked every time."""
    _require_fit(model, sequences, tokenizer)
    mask, was_training, device = masker(tokenizer, seed=0), model.training, next(model.parameters()).device
    model.eval()
    loss = top1 = top5 = tokens = 0.0
    with torch.inference_mode():
        for rows in sequences.split(EVALUATION_ROWS):
            batch = {name: tensor.to(device) for name, tensor in mask(list(rows)).items()}
            logits, truth = _at_masks(model, **batch)
            right = logits.topk(5).indices == truth.unsqueeze(1)
            loss += F.cross_entropy(logits.float(), truth).item() * len(truth)
            tokens += len(truth)
            top1, top5 = top1 + right[:, 0].sum().item(), top5 + right.sum().item()
    model.train(was_training)
    return MaskedScore(loss / tokens, top1 / tokens, top5 / tokens, int(tokens))


def flops_per_token(config: BertConfig, length: int) -> float:
    """Floating-point operations of training on one token: forward, and twice that backward.

    Matrix products only: a weight costs one multiplication and one addition a token, attention adds its two
    products over the sequence, and the head runs for the masked fraction.
    """
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    weights = layers * (4 * hidden**2 + 2 * hidden * inner)
    attention = layers * 2 * length * hidden
    head = MASKED_FRACTION * (hidden**2 + hidden * config.vocab_size)
    return 6 * (weights + attention + head)


def pretrain(
    model: BertForMaskedLM,
    sequences: torch.Tensor,
    tokenizer: PreTrainedTokenizerBase,
    *,
    steps: int,
    optimizer: torch.optim.Optimizer | None = None,
    **settings,
) -> PretrainingHistory:
    """Masked language modeling in place: AdamW, the learning rate going up, staying, and going down.

    A long run is made in parts: the first call warms up, each goes on with the optimizer of the one
    before, and the last decays. An interrupt ends the call, and the model keeps what it learned.

    Parameters
    ----------
    sequences : torch.Tensor, int64, shape (rows, length)
        From `pack`. Batches are drawn in a random order, pass after pass.
    optimizer : torch.optim.Optimizer, optional
        Of an earlier call's history, with the same model.
    **settings
        `batch_size` (32), `learning_rate` (1e-3), `seed` (0); `warmup_steps` and `decay_steps` (0), in which
        it rises from 0 at the start, and falls to 0 at the end; `precision`, "bf16" or "no" (fp32).
        An unknown setting raises `TrainingError`, as do model, optimizer, tokenizer and data that do not fit.
    """
    chosen: PretrainingSettings = choose(PretrainingSettings, {"steps": steps, **settings})
    _require_fit(model, sequences, tokenizer)
    require_range("batch_size", chosen.batch_size, 1, len(sequences), whole=True, error=TrainingError)
    _require_own(optimizer, model)
    accelerator = new_accelerator(chosen.precision)
    model.to(accelerator.device).train()
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), betas=BETAS, fused=True)
    history = PretrainingHistory(optimizer=optimizer)
    batches = masked_batches(sequences, tokenizer, chosen.batch_size, chosen.seed)
    start = time.perf_counter()
    try:
        for step in tqdm(range(steps), desc="pretrain", unit="step", disable=quiet(), leave=False):
            up, down = (step + 1) / (chosen.warmup_steps + 1), (steps - step) / (chosen.decay_steps + 1)
            for group in optimizer.param_groups:
                group["lr"] = chosen.learning_rate * min(1, up, down)
            batch = {name: tensor.to(accelerator.device) for name, tensor in next(batches).items()}
            with accelerator.autocast():
                loss = masked_loss(model, **batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            history.loss.append(loss.item())
            if len(history.loss) % RETURN_MEMORY_STEPS == 0:
                release_memory(collect=False)
            history.tokens += batch["input_ids"].numel()
            history.seconds = time.perf_counter() - start
    except KeyboardInterrupt:
        history.stopped = "interrupted"
    finally:
        optimizer.zero_grad()
        release_memory()
    return history


def _require_fit(model: BertForMaskedLM, sequences: torch.Tensor, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a model, sequences and a tokenizer that do not belong together."""
    known, positions = model.config.vocab_size, model.config.max_position_embeddings
    if len(tokenizer) != known:
        raise TrainingError(
            f"The model knows {known:,} tokens, the tokenizer {len(tokenizer):,}: expected the one that the "
            "model was made with. Load both from one folder."
        )
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


def _require_own(optimizer: torch.optim.Optimizer | None, model: BertForMaskedLM) -> None:
    """Refuse an optimizer that moves another model's weights: this one would learn nothing."""
    groups = optimizer.param_groups if optimizer else []
    if not {id(each) for group in groups for each in group["params"]} <= set(map(id, model.parameters())):
        raise TrainingError(
            "The optimizer moves another model's weights: expected that of an earlier call with this model. "
            "Leave it out to start with a new one."
        )
