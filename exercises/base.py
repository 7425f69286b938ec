"""What the checks share: a decorator that turns a finding into a verdict, and what helps to find it."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .progress import keep

Finding = str | tuple[Any, Mapping[str, Any]]
Judge = Callable[[Any], Finding]


@dataclass(frozen=True)
class Verdict:
    """What a check says of an answer: whether it is right, and a sentence or two for the learner."""

    ok: bool
    message: str  # starts with "Right:", "Not yet:" or "Not answered yet:"

    def __str__(self) -> str:
        return self.message

    def _repr_markdown_(self) -> str:
        head, colon, rest = self.message.partition(":")
        return f"**{head}{colon}**{rest}"


def check(expected: str, tolerance: float = 1e-6) -> Callable[[Judge], Callable[[Any], Verdict]]:
    """Turn a function that judges an answer into a check that never raises.

    The function returns a message, or the value that the answer comes to, a number or an array of them, with
    a table of messages: first what a right answer shows, then the slips that are known, each with the value
    that it leads to (a set, if to one of several), and last a hint for any other, with the value ``...``.

    `expected` names the answer: ``"a number, the loss in nats"``. With ``"a function"`` at its start, nothing
    but a function will do, and else no function will. `tolerance`, relative to a value in the table, still
    counts as it. To ``...`` and ``None`` the check says "Not answered yet", to what makes it raise "Not yet".

    Examples
    --------
    >>> @check("a number, six times seven")
    ... def product(answer):
    ...     return answer, {"Right: it is 42.": 42, "multiply, don't add.": 13, "what is 6 x 7?": ...}
    >>> print(product(13))
    Not yet: multiply, don't add.
    >>> print(product("42"))
    Not yet: your answer raised TypeError: must be real number, not str. Expected: a number, six times seven.
    """

    def decorate(judge: Judge) -> Callable[[Any], Verdict]:
        @functools.wraps(judge)
        def judged(answer: Any = ...) -> Verdict:
            if answer is ... or answer is None:
                message = f"replace the dots in `answer = ...` with {expected}."
                return Verdict(False, f"Not answered yet: {message}")
            try:
                if callable(answer) != expected.startswith("a function"):
                    kind = "a function" if callable(answer) else f"of type {type(answer).__name__}"
                    message = f"your answer is {kind}. Expected: {expected}."
                else:
                    finding = judge(answer)
                    message = finding if isinstance(finding, str) else _choose(*finding, tolerance)
            except Exception as error:  # a learner's function may raise any; a traceback would teach nothing
                reason = " ".join(str(error).split()).rstrip(".") or "no message"
                message = f"your answer raised {type(error).__name__}: {reason}. Expected: {expected}."
            ok = message.startswith("Right: ")
            if ok:
                keep(f"{judge.__module__}.{judge.__name__}".removeprefix("exercises."))
            return Verdict(ok, message if ok else f"Not yet: {message}")

        judged.__doc__ = judge.__doc__ or f"Judge an answer: {expected}."
        return judged

    return decorate


def _choose(found: Any, messages: Mapping[str, Any], tolerance: float) -> str:
    for message, value in messages.items():
        values = value if isinstance(value, set) else [value]
        if value is ... or any(near(found, each, tolerance) for each in values):
            return message
    raise LookupError("the last message should have the value `...`")


def near(found: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Say whether two numbers are the same, or two sequences or arrays of numbers, shape included.

    Two numbers are the same if they differ by `tolerance` of the larger one at most, or by 1e-9.

    Examples
    --------
    >>> near(0.1 + 0.2, 0.3), near([1.0, 2.0], (1, 2)), near([1.0], [1.0, 2.0])
    (True, True, False)
    """
    if np.ndim(expected) == 0:
        return math.isclose(found, expected, rel_tol=tolerance, abs_tol=1e-9)
    alike = np.shape(found) == np.shape(expected)
    return alike and all(near(*pair, tolerance) for pair in zip(found, expected, strict=True))


def kind(got: object) -> str:
    """Name what a learner's function returned: the shape of a tensor, or else the value."""
    return f"a tensor of shape {tuple(got.shape)}" if hasattr(got, "shape") else repr(got)


def sorted_out(answer: Iterable[str], wrong: Mapping[str, str], right: Mapping[str, str]) -> str:
    """Give the message of a letter that is wrong, or else of a right one that is missing, or else nothing."""
    known, given = sorted(wrong | right), {str(letter).strip().upper() for letter in answer}
    if unknown := sorted(given - set(known)):
        raise ValueError(f"there is no {', '.join(unknown)}; the letters go from {known[0]} to {known[-1]}")
    amiss = [message for letter, message in wrong.items() if letter in given]
    amiss += [message for letter, message in right.items() if letter not in given]
    return amiss[0] if amiss else ""
