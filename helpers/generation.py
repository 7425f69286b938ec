"""A model that writes, in plain PyTorch, as in “What a token costs”: a cache, batches, and an end.

Llama's network, with weights by Transformers' names. Tests hold it equal to that model and to the notebook's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from helpers import assets
from helpers.values import require_range

Cache = dict[int, tuple[Tensor, Tensor]]  # by layer: keys and values, batch x heads x length x d
Turn = tuple[Tensor, Tensor]  # cosines and sines, batch x 1 x length x d/2


@dataclass(frozen=True)
class Writer:
    """A model that writes: Transformers' own, its weights by name, and its tokenizer."""

    model: Any
    config: Any  # its sizes, by the names of its config.json
    weights: dict[str, Tensor]
    tokenizer: Any


@dataclass
class Answer:
    """What was written. `finish` is "end" (the model's own), "stop", "length", or "interrupted" by Ctrl-C."""

    prompt_tokens: int
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    finish: str = "length"


def load(name: str = assets.WRITER.name) -> Writer:
    """Read a Llama-like model in float32: the course's, a folder, or a name of the hub.

    Raises `AssetError` if there is none, `ValueError` if it isn't Llama's or its parts don't fit together.
    """
    from safetensors import safe_open
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    folder = assets.resolve_model(name)
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    expected = {"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    found: dict[str, Any] = {each: getattr(config, each, None) for each in expected}
    found["rope_type"] = (getattr(config, "rope_parameters", None) or {}).get("rope_type")
    if found != (expected := expected | {"rope_type": "default"}):
        raise ValueError(f"The model {name!r} has {found}: expected {expected}.")
    path, names, rows, state = Path(folder, "model.safetensors"), [], config.vocab_size, {}
    if path.is_file():  # other files are left to Transformers
        with safe_open(path, "pt") as file:
            names, rows = file.keys(), file.get_slice("model.embed_tokens.weight").get_shape()[0]
    if not len(tokenizer) <= rows == config.vocab_size:
        sizes = f"{len(tokenizer):,} tokens, the config {config.vocab_size:,}, the file {rows:,} vectors"
        raise ValueError(f"The tokenizer of {name!r} has {sizes}: expected one for each, of one model.")
    for each in names:  # by columns, as PyTorch reads them faster for a single vector
        with safe_open(path, "pt") as file:  # for one tensor at a time: what is mapped counts as memory
            state[each] = file.get_tensor(each).t().contiguous().t().float()
    given = {"config": config, "state_dict": state or None, "dtype": torch.float32}
    model = LlamaForCausalLM.from_pretrained(None if state else folder, **given)
    weights = {each: weight.detach() for each, weight in model.named_parameters()}
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])  # one table, if they are tied
    return Writer(model.eval(), model.config, weights, tokenizer)


def block(writer: Writer, place: int, x: Tensor, cache: Cache, turn: Turn, mask: Tensor | None):
    """One of the model's layers: vectors to vectors, batch x length x hidden; the cache grows.

    `turn` has the positions' cosines and sines; `mask` (bool) is True where a row may look at a column.
    """
    weights, d, eps = writer.weights, writer.config.head_dim, writer.config.rms_norm_eps
    layer = f"model.layers.{place}."
    y = F.rms_norm(x, x.shape[-1:], weights[f"{layer}input_layernorm.weight"], eps)
    parts = (F.linear(y, weights[f"{layer}self_attn.{part}_proj.weight"]) for part in "qkv")
    q, k, v = (part.unflatten(-1, (-1, d)).transpose(1, 2) for part in parts)
    q, k = rotate(q, turn), rotate(k, turn)
    if place in cache:  # what was read before isn't computed again
        k, v = torch.cat([cache[place][0], k], dim=2), torch.cat([cache[place][1], v], dim=2)
    cache[place] = k, v
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    x = x + F.linear(mixed.transpose(1, 2).flatten(2), weights[f"{layer}self_attn.o_proj.weight"])
    y = F.rms_norm(x, x.shape[-1:], weights[f"{layer}post_attention_layernorm.weight"], eps)
    gate, up = (F.linear(y, weights[f"{layer}mlp.{part}_proj.weight"]) for part in ("gate", "up"))
    return x + F.linear(F.silu(gate) * up, weights[f"{layer}mlp.down_proj.weight"])


def rotate(x: Tensor, turn: Turn) -> Tensor:
    """Turn pairs of numbers (batch x heads x length x d) by their positions' angles."""
    (cos, sin), (a, b) = turn, x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


@torch.inference_mode()
def forward(writer: Writer, ids: Tensor, cache: Cache, real: Tensor | None = None, block=block) -> Tensor:
    """Read more tokens (int64, batch x new); return their vectors (batch x new x hidden). The cache grows.

    `real` (bool, batch x all) is False at padding, of what is in the cache and of the new; None if there is
    none. Nothing in a cache is ever written over, so that `dict(cache)` is a copy to go on from.
    """
    new, config = ids.shape[1], writer.config
    length = new + (cache[0][0].shape[2] if cache else 0)
    real = torch.ones(len(ids), length, dtype=torch.bool) if real is None else real
    places = (real.cumsum(dim=1) - 1).clamp(min=0)[:, None, -new:, None]
    half, base = config.head_dim // 2, config.rope_parameters["rope_theta"]
    angles = places * base ** (-torch.arange(half) / half)
    mask = torch.ones(new, length, dtype=torch.bool).tril(length - new) & real[:, None, None, :]
    mask = mask | torch.eye(length, dtype=torch.bool)[-new:]  # padding sees itself: each row sees something
    x = writer.weights["model.embed_tokens.weight"][ids]
    for place in range(config.num_hidden_layers):
        x = block(writer, place, x, cache, (angles.cos(), angles.sin()), mask)
    return F.rms_norm(x, x.shape[-1:], writer.weights["model.norm.weight"], config.rms_norm_eps)


@torch.inference_mode()
def logits(writer: Writer, x: Tensor) -> Tensor:
    """Scores of every token of the vocabulary as the next one, from vectors (... x hidden)."""
    return F.linear(x, writer.weights["lm_head.weight"])


def chat(writer: Writer, text: str) -> str:
    """Put a question into the form that the model was tuned on; its answer comes next."""
    turns = [{"role": "user", "content": text}]
    return writer.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def write(writer: Writer, prompts: Sequence[str], new_tokens: int = 64, stop: str = "") -> list[Answer]:
    """Write on after each prompt, all at once, always taking the likeliest token.

    A row ends with the model's own end, with the string `stop` if one is given (which isn't in the text), or
    after `new_tokens`; the others go on without it. Ctrl-C gives the answers as they are. Raises `ValueError`
    for a prompt that is empty, or that is too long to be followed by so many tokens.

    Examples
    --------
    >>> writer = load()
    >>> [answer] = write(writer, ["One, two, three, four,"], new_tokens=2)
    >>> answer.text, answer.prompt_tokens, answer.finish
    (' five,', 8, 'length')
    """
    rows, end = _rows(writer, prompts, new_tokens, stop), writer.config.eos_token_id
    longest, ends = max(map(len, rows)), end if isinstance(end, list) else [end]  # or None: it has none
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    real = torch.tensor([[place >= longest - len(row) for place in range(longest)] for row in rows])
    answers = [Answer(len(row)) for row in rows]
    writing, cache = answers, Cache()
    try:
        for _ in range(new_tokens):
            ids = logits(writer, forward(writer, ids, cache, real)[:, -1:]).argmax(dim=-1)
            for answer, token in zip(writing, ids[:, 0].tolist(), strict=True):
                answer.tokens.append(token)
                answer.text = writer.tokenizer.decode(answer.tokens, skip_special_tokens=True)
                if token in ends:
                    answer.finish = "end"
                elif stop and stop in answer.text:
                    answer.text, answer.finish = answer.text.split(stop)[0], "stop"
            if not (going := [row for row, answer in enumerate(writing) if answer.finish == "length"]):
                break
            if len(going) < len(writing):  # nothing is computed for those that have ended
                writing, ids, real = [writing[row] for row in going], ids[going], real[going]
                cache = {place: (k[going], v[going]) for place, (k, v) in cache.items()}
            real = torch.cat([real, torch.ones_like(ids, dtype=torch.bool)], dim=1)
    except KeyboardInterrupt:
        for answer in writing:
            answer.finish = "interrupted" if answer.finish == "length" else answer.finish
    return answers


def _rows(writer: Writer, prompts: Sequence[str], new_tokens: int, stop: str) -> list[list[int]]:
    """The prompts' token ids, if all can be read and followed by so many tokens."""
    context = writer.config.max_position_embeddings
    require_range("new_tokens", new_tokens, 1, context, whole=True)
    if isinstance(prompts, str) or not prompts or not all(isinstance(each, str) for each in (*prompts, stop)):
        raise ValueError(f"prompts, stop are {prompts!r}, {stop!r}: expected a list of texts, and a text.")
    rows = [writer.tokenizer(prompt)["input_ids"] for prompt in prompts]
    for number, row in enumerate(rows, start=1):
        if not row:
            raise ValueError(f"Prompt {number} is empty: expected some text to go on from.")
        if len(row) + new_tokens > context:
            found = f"Prompt {number} has {len(row):,} tokens, and {new_tokens:,} may follow"
            longest = f"at most {context:,} in all, the longest that this model has seen"
            raise ValueError(f"{found}: expected {longest}. Shorten it, or ask for fewer.")
    return rows


def onnx_step(writer: Writer) -> Callable[[Tensor, Cache], Tensor]:
    """Give `logits(writer, forward(writer, ids, cache))` by ONNX Runtime, for one more token (batch x 1).

    The cache isn't empty and has no padding; the model's `intermediate_size` is a multiple of 32.
    """
    import onnxruntime
    from onnx import parser

    def parts(layer):  # read where they are, but for the gate's: one core is faster with strips of 32 columns
        found = {name.split(".")[-2]: w.t() for name, w in writer.weights.items() if name.startswith(layer)}
        pair = (found.pop(part).unflatten(1, (-1, 32)).transpose(0, 1) for part in ("gate_proj", "up_proj"))
        found["strips"] = torch.cat([*pair])
        return {part: w.contiguous().numpy() for part, w in found.items()}

    config, options = writer.config, onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    layers = [parts(f"model.layers.{n}.") for n in range(config.num_hidden_layers)]
    table = writer.weights["lm_head.weight"].t().contiguous().numpy()
    norm = f"RMSNormalization <axis = -1, epsilon = {config.rms_norm_eps:.12f}>"
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    given = "".join(f", float[{', '.join(map(str, w.shape))}] {part}" for part, w in layers[0].items())
    layer = f"""(float[b,n,h] x, float[b,n,e] c, float[b,n,e] s, float[b,g,p,d] k, float[b,g,p,d] v {given})
        => (float[b,n,h] new, float[b,g,t,d] new_k, float[b,g,t,d] new_v) {{
        y = {norm} (x, input_layernorm) own_q = MatMul (y, q_proj) own_k = MatMul (y, k_proj)
        own_v = MatMul (y, v_proj) turned_q = RotaryEmbedding <num_heads = {heads}> (own_q, c, s)
        turned_k = RotaryEmbedding <num_heads = {shared}> (own_k, c, s) mix, new_k, new_v = Attention
        <q_num_heads = {heads}, kv_num_heads = {shared}> (turned_q, turned_k, own_v, , k, v)
        out = MatMul (mix, o_proj) seen = Add (x, out) z = {norm} (seen, post_attention_layernorm)
        both = MatMul (z, strips) gate, up = Split <axis = 0, num_outputs = 2> (both) a = Sigmoid (gate)
        silu = Mul (gate, a) gated = Mul (silu, up) row = Constant <value_ints = [1, 1, -1]> ()
        flat = Reshape (gated, row) down = MatMul (flat, down_proj) new = Add (seen, down)}}"""
    last = "(float[b,n,h] x, float[h,t] table) => (float[b,n,t] y) {y = MatMul (x, table)}"
    begin = '<ir_version: 10, opset_import: ["": 23]> g'
    graphs = (parser.parse_model(begin + each) for each in (layer, last))
    body, head = (onnxruntime.InferenceSession(each.SerializeToString(), options) for each in graphs)

    def run(writer, place, x, cache, turn, mask):
        given = zip("xcskv", (x, turn[0][:, 0], turn[1][:, 0], *cache[place]), strict=True)
        found = body.run(None, {name: part.numpy() for name, part in given} | layers[place])
        x, *cache[place] = map(torch.from_numpy, found)
        return x

    def step(ids: Tensor, cache: Cache) -> Tensor:
        x = forward(writer, ids, cache, block=run).numpy()
        return torch.from_numpy(head.run(None, {"x": x, "table": table})[0])

    return step


def llama_cpp() -> Callable[[str, int], tuple[str, float]] | None:
    """Give a function that writes in 4 bits, (prompt, tokens) -> (text, seconds after its first token).

    None without xllamacpp.
    """
    try:
        import xllamacpp
    except ImportError:
        return None
    options = xllamacpp.CommonParams()
    options.model.path = str(assets.fetch_model(assets.WRITER) / assets.WRITER.gguf)
    options.n_ctx, options.n_batch, options.n_ubatch, options.n_parallel = 512, 64, 64, 1  # small buffers
    options.warmup, options.verbosity = False, -1
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = torch.get_num_threads()
    server = xllamacpp.Server(options)

    def write_on(prompt: str, new_tokens: int) -> tuple[str, float]:
        request = {"prompt": prompt, "n_predict": new_tokens, "temperature": 0, "ignore_eos": True}
        done = server.handle_completions(request | {"cache_prompt": False})
        return done["choices"][0]["text"], done["timings"]["predicted_ms"] / 1e3

    return write_on
