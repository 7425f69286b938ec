"""What the checks share: a decorator that turns a finding into a verdict, and what helps to find it."""

import copy
import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .progress import keep

Finding = str | tuple[Any, Mapping[str, Any]]
Judge = Callable[[Any], Finding]


class Amiss(Exception):
    """What is amiss with an answer, in a sentence for the learner."""


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

    The function returns a message, or the value that the answer comes to (numbers), with a table of messages:
    first what a right answer shows, then each known slip with the value, or the set of values, that it leads
    to, and last a hint for any other, with the value ``...``. `tolerance` is relative to the table's value.

    `expected` names the answer: ``"a number, the loss in nats"``; a function will do only if it begins with
    ``"a function"``. To ``...`` and ``None`` the check says "Not answered yet", to what raises "Not yet".

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
            except Amiss as error:
                message = str(error)
            except (Exception, SystemExit) as error:  # a traceback would teach nothing
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
    """Say whether two numbers, or two sequences or arrays of them, are the same, shape included.

    They may differ by `tolerance` of the larger one, or by 1e-9.
    """
    if np.ndim(expected) == 0:
        return math.isclose(found, expected, rel_tol=tolerance, abs_tol=1e-9)
    alike = np.shape(found) == np.shape(expected)
    return alike and all(near(*pair, tolerance) for pair in zip(found, expected, strict=True))


def untouched(answer: Callable, *given: Any) -> Any:
    """Give what a learner's function makes of copies; refuse one that changes numbers, arrays or lists."""
    copies = copy.deepcopy(given)
    got = answer(*copies)
    changed = [type(own).__name__ for own, lent in zip(given, copies, strict=True) if not _same(own, lent)]
    if changed:
        raise Amiss(f"your function changes the {changed[0]} that it is given. Leave it, and make a new one.")
    return got


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        one, other = [*one.items()], [*other.items()]
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(_same, one, other))
    data = hasattr(one, "__array__") or isinstance(one, int | float | str)
    return not data or np.array_equal(one, other)


def sorted_out(answer: Iterable[str], right: str, messages: Mapping[str, str]) -> str:
    """Give the first message of a letter that is amiss: a wrong one, or one of `right` that isn't there."""
    letters = re.findall("[A-Za-z]", answer) if isinstance(answer, str) else answer
    known, given = sorted(messages), {str(letter).strip().upper() for letter in letters}
    if unknown := sorted(given - set(known)):
        raise ValueError(f"there is no {', '.join(unknown)}; the letters go from {known[0]} to {known[-1]}")
    return next((text for letter, text in messages.items() if (letter in given) != (letter in right)), "")
