"""Pretraining a small BERT: vocabulary, masks, and the loop of “Pretrain a BERT”; nothing knows of energy."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from tokenizers.implementations import BertWordPieceTokenizer
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import BertTokenizer, PreTrainedTokenizerBase

from helpers.machine import RETURN_MEMORY_STEPS, release_memory
from helpers.training import TrainingError, choose, new_accelerator, quiet
from helpers.transformer import LanguageModel
from helpers.values import require_range

ALPHABET = 200  # distinct characters that get tokens of their own; rarer ones become [UNK]
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # BERT's
PADDING = 0  # [PAD], the first of BERT's special tokens
MASKED_FRACTION = 0.15
POSITION_STD = 0.04  # twice that of random weights, so that the sum of both still tells where a token stands
EVALUATION_ROWS = 128  # a batch where no gradient is kept

Loss = Callable[[LanguageModel, torch.Tensor], torch.Tensor]


@dataclass
class PretrainingHistory:
    """What happened in pretraining, as data.

    `loss` of every step, in nats a token that was asked for; `tokens` read, padding included; `seconds` on
    the clock; `stopped` "end" or "interrupted".
    """

    loss: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    stopped: str = "end"


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


class MaskedScore(NamedTuple):
    """How well masked `tokens` were restored: `loss` in nats, fractions found at first guess and in five."""

    loss: float
    top1: float
    top5: float
    tokens: int

    def __str__(self) -> str:
        right = f"{self.top1:.1%} right at the first guess, {self.top5:.1%} in five"
        return f"loss {self.loss:.2f} nats, {right} ({self.tokens:,} masked tokens)"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """Learn a WordPiece vocabulary in lower case, the same each time, and return BERT's tokenizer with it.

    `vocab_size` counts the five special tokens as well; it raises `TrainingError` if the letters need more.

    Examples
    --------
    >>> tokenizer = train_tokenizer(["a film, a filming, a filmed play"] * 9, vocab_size=50)
    >>> tokenizer.tokenize("A film!")
    ['a', 'film', '[UNK]']
    """
    learned = BertWordPieceTokenizer(lowercase=True)
    texts = list(texts)
    words = [word for text in texts for word in learned.normalizer.normalize_str(text).split()]
    parts = [part for word in set(words) for part, _ in learned.pre_tokenizer.pre_tokenize_str(word)]
    letters, inner = Counter("".join(words)), {letter for part in parts for letter in part[1:]}
    # Of equally frequent pairs the library takes the one whose letters it met first, so they come in order.
    kept = sorted(letters, key=lambda letter: (-letters[letter], letter))[:ALPHABET]
    first = [*SPECIAL_TOKENS, *("##" + letter for letter in sorted(inner & {*kept}))]
    given: dict = {"limit_alphabet": ALPHABET, "initial_alphabet": kept, "special_tokens": first}
    learned.train_from_iterator(iter(texts), vocab_size, show_progress=False, **given)
    vocabulary = learned.get_vocab()
    if not 5 < len(vocabulary) <= vocab_size:
        expected = f"more tokens than letters take, {len(vocabulary)}. 2,000 is fair for a small model."
        raise TrainingError(f"vocab_size is {vocab_size}: expected texts with words, and {expected}")
    return BertTokenizer(vocab=vocabulary, do_lower_case=True)


def frequencies(rows: torch.Tensor, vocab_size: int, never: Sequence[int]) -> torch.Tensor:
    """How often each token occurs in rows of ids (float, vocabulary): sums to 1, and is 0 for some.

    A token that isn't in the rows counts as once; those in `never` are never asked for.
    """
    counts = torch.bincount(rows.flatten(), minlength=vocab_size).clamp(min=1).float()
    counts[never] = 0
    return counts / counts.sum()


def start(config: Mapping, p: torch.Tensor) -> LanguageModel:
    """Make a model with random weights, but that knows how frequent tokens are, and where neighbors are.

    Its bias is the logarithm of the `frequencies` p. Each head first looks one or more places to the left or
    right: a short run would spend most of its time on finding out who stands next to whom.
    """
    model = LanguageModel(config)
    heads, length = config["num_attention_heads"], config["max_position_embeddings"]
    size = config["hidden_size"] // heads
    offsets = [(n // 2 + 1) * (-1) ** (n + 1) for n in range(heads)]
    with torch.no_grad():
        model.bias.copy_(p.clamp(min=1e-9).log())
        waves = sinusoids(torch.arange(length), size).repeat(1, heads)
        model.body.positions.weight.copy_(2**0.5 * POSITION_STD * waves)
        for block in model.body.blocks:
            block.attention.query.weight.copy_(torch.eye(heads * size))
            block.attention.key.weight.copy_(torch.block_diag(*(turn(offset, size) for offset in offsets)))
    return model


def sinusoids(places: torch.Tensor, size: int) -> torch.Tensor:
    """Sines, then cosines, of waves of different lengths at each place (float32, places x size).

    The vectors of two places less than `size` apart are perpendicular.
    """
    angle = places.unsqueeze(1) * torch.pi * (torch.arange(size // 2) + 0.5) / (size // 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def turn(offset: int, size: int) -> torch.Tensor:
    """The matrix (size x size) that makes each place's vector of `sinusoids` that of `offset` places before.

    As the weight of a head's keys, beside queries that stay as they are, it makes place i look at i + offset.
    """
    places = torch.arange(4 * size)
    return torch.linalg.lstsq(sinusoids(places, size), sinusoids(places - offset, size)).solution.T


def mask(x: torch.Tensor, tokenizer: PreTrainedTokenizerBase, generator: torch.Generator) -> tuple:
    """BERT's masking, as the notebook has it: 15 % of tokens are chosen, of these 80/10/10.

    From ids (int64, rows x length) to `input_ids` and `labels` of the same shape; labels are -100 where
    nothing is asked. Special tokens, padding among them, are never chosen.
    """
    special = torch.isin(x, torch.tensor(tokenizer.all_special_ids))
    chances = torch.full(x.shape, MASKED_FRACTION).masked_fill(special, 0.0)
    chosen = torch.bernoulli(chances, generator=generator).bool()
    hidden = chosen & torch.bernoulli(torch.full(x.shape, 0.8), generator=generator).bool()
    swapped = chosen & ~hidden & torch.bernoulli(torch.full(x.shape, 0.5), generator=generator).bool()
    input_ids = x.masked_fill(hidden, tokenizer.mask_token_id)
    input_ids[swapped] = torch.randint(len(tokenizer), x.shape, generator=generator)[swapped]
    return input_ids, x.where(chosen, -100)


def masked(tokenizer: PreTrainedTokenizerBase, seed: int) -> Loss:
    """A loss for `pretrain`, which masks each batch anew."""
    generator = torch.Generator().manual_seed(seed)
    return lambda model, x: masked_loss(model, *mask(x, tokenizer, generator))


def masked_loss(model: LanguageModel, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy at the masked places, in nats. The head is computed there and nowhere else."""
    logits, truth = _at_masks(model, input_ids, labels)
    return F.cross_entropy(logits.float(), truth)


def _at_masks(model: LanguageModel, input_ids: torch.Tensor, labels: torch.Tensor) -> tuple:
    input_ids, labels = input_ids.to(model.bias.device), labels.to(model.bias.device)
    masked = labels != -100
    return model.head(model.body(input_ids, input_ids != PADDING)[masked]), labels[masked]


def causal_loss(model: LanguageModel, x: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats of each next token (int64, rows x length), padding left out; for `pretrain`."""
    x = x.to(model.bias.device)
    logits = model(x[:, :-1], causal=True)
    return F.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten(), ignore_index=PADDING)


def evaluate_masked(
    model: LanguageModel, sequences: torch.Tensor, tokenizer: PreTrainedTokenizerBase
) -> MaskedScore:
    """Score a model on held-out sequences; the same tokens are masked every time."""
    _require_fit(model, sequences)
    batch = mask(sequences, tokenizer, torch.Generator().manual_seed(0))
    loss = top1 = top5 = tokens = 0.0
    with torch.inference_mode():
        for rows in zip(*(part.split(EVALUATION_ROWS) for part in batch), strict=True):
            logits, truth = _at_masks(model, *rows)
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


def flops_per_token(config: Mapping, length: int) -> float:
    """Floating-point operations of training on one token: forward, and twice that backward.

    Matrix products only, attention's two over the sequence among them; the head for the masked fraction.
    """
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    weights = layers * (4 * hidden**2 + 2 * hidden * inner)
    attention = layers * 2 * length * hidden
    head = MASKED_FRACTION * (hidden**2 + hidden * config["vocab_size"])
    return 6 * (weights + attention + head)


def pretrain(
    model: LanguageModel,
    sequences: torch.Tensor,
    loss: Loss,
    *,
    steps: int,
    watch: Callable[[int], None] = lambda step: None,
    **settings,
) -> PretrainingHistory:
    """Pretrain in place: AdamW, the learning rate going up, staying, and going down.

    Batches of `sequences` (int64, rows x length) are drawn in a random order, pass after pass. `loss` goes
    from the model and a batch to what to minimize: `masked(tokenizer, seed)`, or `causal_loss`. `watch` is
    called with the number of steps made, before the first and after each; not in the `seconds`. An interrupt
    ends the call, and the model keeps what it learned.

    The settings are `batch_size` (32), `learning_rate` (1e-3), `seed` (0); `warmup_steps` and `decay_steps`
    (0), in which the rate rises from 0 at the start, and falls to 0 at the end; `precision`, "bf16" or "no"
    (fp32). An unknown setting raises `TrainingError`, as do a model and data that do not fit.
    """
    chosen: PretrainingSettings = choose(PretrainingSettings, {"steps": steps, **settings})
    _require_fit(model, sequences)
    require_range("batch_size", chosen.batch_size, 1, len(sequences), whole=True, error=TrainingError)
    accelerator = new_accelerator(chosen.precision)
    model.to(accelerator.device)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), fused=True)  # RoBERTa's: short runs
    history = PretrainingHistory()
    rows = batches(sequences, chosen.batch_size, chosen.seed)
    try:
        watch(0)
        for step in tqdm(range(steps), desc="pretrain", unit="step", disable=quiet(), leave=False):
            begun = time.perf_counter()
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
            history.seconds += time.perf_counter() - begun
            watch(step + 1)
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
        raise TrainingError("The corpus is empty: expected at least one sequence.")
    if (highest := int(sequences.max())) >= known:
        found = f"The sequences hold token {highest:,}, the model knows 0 to {known - 1:,}"
        raise TrainingError(f"{found}: they were packed with another tokenizer. Pack the text with this one.")
    if (length := sequences.shape[1]) > positions:
        found = f"The sequences are {length} tokens long, the model has {positions} positions"
        raise TrainingError(f"{found}: make the sequences that long or shorter.")
