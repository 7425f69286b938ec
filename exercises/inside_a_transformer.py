"""Checks of “Inside a Transformer”: a head, a mask, broken blocks, operations."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from helpers.transformer import Attention, Block

from .base import Finding, check, near, untouched


@check("a function of (x, query, key, value, mask) that returns the mix, n x d", 1e-4)
def head(answer: Callable) -> Finding:
    torch.manual_seed(5)
    for n, hidden, d in ((4, 12, 4), (7, 10, 6), (5, 18, 8)):
        x, mask = torch.randn(n, hidden), torch.rand(n, n) < 0.6
        mask.fill_diagonal_(True)
        query, key, value = (torch.nn.Linear(hidden, d).requires_grad_(False) for _ in range(3))
        got = untouched(answer, x, query, key, value, mask)
        if not isinstance(got, torch.Tensor) or got.shape != (n, d):
            return "your function should return a tensor of n x d, the mix of the values."
        q, k, v = query(x), key(x), value(x)

        def mix(scale, mask=mask, dim=-1, values=v, scores=q @ k.T):
            return (scores / scale).masked_fill(~mask, -1e9).softmax(dim) @ values

        root = math.sqrt(d)
        right = mix(root)
        messages = {
            "Right: on heads of three sizes. The twelve of a block are this, side by side in one "
            "matrix.": right,
            "divide the scores by the root of d, the length of a query.": mix(1),
            "d is the length of a query, not of x: q.shape[-1].": mix(math.sqrt(hidden)),
            "the scores are divided by d. It is the root of d.": mix(d),
            "the mask isn't used: forbidden scores become minus infinity.": mix(root, torch.ones_like(mask)),
            "a share set to 0 after the softmax leaves a row that doesn't sum to 1. Set the *score* to minus "
            "infinity, before it.": (q @ k.T / root).softmax(-1) * mask @ v,
            "the softmax goes along each row, over those that are looked at: dim=-1.": mix(root, dim=0),
            "the mask is turned: True is where the row *may* look.": mix(root, ~mask),
            "the mask's rows look and its columns are looked at; yours are swapped.": mix(root, mask.T),
            "what is mixed are the values, not the keys.": mix(root, values=k),
            "scores q k^T over the root of d; minus infinity where the mask is False; softmax; mix.": ...,
        }
        if not near(got, right, 1e-4):
            break
    return got, messages


@check("a function of (attention_mask, prefix) that returns a mask, batch x 1 x n x n")
def prefix_mask(answer: Callable) -> Finding:
    torch.manual_seed(6)
    for batch, n, prefix in ((1, 3, 1), (3, 5, 4), (2, 6, 0), (4, 9, 9), (3, 7, 3)):
        real = torch.ones(batch, n, dtype=torch.long)
        for row, count in enumerate(torch.randint(0, n - 1, (batch,)).tolist()):
            real[row, slice(n - count, n) if row % 2 else slice(0, count)] = 0
        got = answer(real.clone(), prefix)
        if not isinstance(got, torch.Tensor) or got.dtype != torch.bool:
            return "return a tensor of True and False (dtype bool)."
        if got.shape != (batch, 1, n, n):
            return f"for {batch} rows of {n} your mask has the shape {tuple(got.shape)}: batch x 1 x n x n."
        causal, columns = torch.ones(n, n, dtype=torch.bool).tril(), real.bool()[:, None, None, :]
        question = torch.arange(n) < prefix
        among_itself, seen = causal & ~question | question & question[:, None], causal | question
        right = seen & columns
        messages = {
            "Right: question or causal, and no padding. This is the mask of a prefix language model.": right,
            "the padding is still seen: shut its columns, for every row.": seen.expand_as(got),
            "you shut the *rows* of padding. It is its columns that nobody may look at.": seen & columns.mT,
            "nobody sees the question whole: later words are hidden from earlier ones.": causal & columns,
            "everyone sees everything: in the answer, hide what comes later.": columns.expand_as(got),
            "it is turned: row i looks at columns up to i, not from i on.": (causal.T | question) & columns,
            "a position of the answer should see itself too.": (causal.tril(-1) | question) & columns,
            "the question sees itself whole, but the answer lost it, or itself.": among_itself & columns,
            "you have True where looking is forbidden.": ~right,
            f"wrong with n = {n} and a prefix of {prefix}. Question or causal, and not padding.": ...,
        }
        if not torch.equal(got, right):
            break
    return got, messages


def _broken(fault: str, hidden: int, heads: int):
    """Make a block of random weights with a fault."""

    class Broken(Block):
        def forward(self, x, mask=None):
            if fault == "residual":
                x = self.attention_norm(x + self.attention(x, mask))
                return self.feed_forward_norm(self.down(F.gelu(self.up(x))))
            return super().forward(x, None if fault == "mask" else mask)

    sizes = {"hidden_size": hidden, "intermediate_size": 2 * hidden, "num_attention_heads": heads}
    block = Broken(sizes | {"layer_norm_eps": 1e-12})
    if fault == "heads":
        block.attention = Unturned(hidden, heads)
    return block.requires_grad_(False).eval()


class Unturned(Attention):
    """Attention that cuts the heads' pieces without the transpose."""

    def forward(self, x, mask=None):
        batch, n, _ = x.shape
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (part.reshape(batch, self.heads, n, -1) for part in parts)
        return self.output(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).reshape(x.shape))


@check('a function of (block, x, mask) that returns "mask", "heads", "residual" or "none"')
def sabotage(answer: Callable) -> Finding:
    torch.manual_seed(7)
    wrong = []
    for hidden, heads in ((16, 4), (24, 2), (32, 8)):
        x, real = torch.randn(2, 6, hidden), torch.ones(2, 6, dtype=torch.bool)
        real[1, -2:] = False
        for fault in ("none", "mask", "heads", "residual"):
            got = answer(_broken(fault, hidden, heads), x.clone(), real[:, None, None, :].clone())
            if got not in ("none", "mask", "heads", "residual"):
                return f'your function returned {got!r}: return "mask", "heads", "residual" or "none".'
            if got != fault:
                wrong.append((fault, got))
    if not wrong:
        return "Right: twelve blocks of three sizes, and each diagnosis holds. Keep such tests."
    if all(fault == "none" for fault, _ in wrong):
        return "sound blocks are accused. How exactly do you compare? Sums in another order differ by 1e-6."
    missed, got = next((fault, got) for fault, got in wrong if fault != "none")
    if got == "none":
        return {
            "mask": "a block that looks at padding passes. Change the padding: no other vector may move.",
            "heads": "a block with mixed-up heads passes. Shuffle the tokens: sound vectors follow them.",
            "residual": "a block without a residual passes. Set a part's last matrix to 0: is x still there?",
        }[missed]
    return f"{len(wrong)} of 12 diagnoses are wrong: a fault gets another's name. One may break two promises."


@check("a function of (layers, hidden, inner, n) that returns a number of operations")
def flops(answer: Callable) -> Finding:
    large = [(12, 768, 3_072, 512), (6, 384, 1_536, 128), (24, 1_024, 4_096, 1)]
    shapes = [*large, (2, 100, 300, 7), (1, 64, 64, 99)]
    layers, h, inner, n = np.array(shapes).T

    def count(two=2, square=4, projections=4, feed_forward=2, m=inner):
        return layers * n * (two * (projections * h * h + feed_forward * h * m) + square * n * h)

    return [answer(*shape) for shape in shapes], {
        "Right: from a toy to BERT-Large. BERT-Base takes 0.1 TFLOP to read a text of 512 tokens, and its "
        "square is a tenth of that.": count(),
        "a multiplication and an addition are two operations for each weight.": count(two=1),
        "two operations for each weight, and for each product of the square too.": count(two=1, square=2),
        "the square is missing: scores and mix, 2 n h each for a token.": count(square=0),
        "the square has two products: the scores, and the mix of the values.": count(square=2),
        "attention has four matrices: query, key, value and output.": count(projections=3),
        "the feed-forward part has two matrices, up and down.": count(feed_forward=1),
        "use `inner`: the feed-forward part needn't be four times as wide as the rest.": count(m=4 * h),
        "those are the operations of one block. How many has the model?": count() / layers,
        "those are the operations of one token. A text has n.": count() / n,
        "twice a block's weights for each token, and 4 n h for the square; times n, times layers.": ...,
    }
