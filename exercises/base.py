"""What every exercise check shares: a verdict, and a decorator that never lets one raise."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Verdict", "check", "letters", "not_yet", "right"]


@dataclass(frozen=True)
class Verdict:
    """What a check says about an answer.

    Parameters
    ----------
    ok : bool
        True when the answer is right.
    message : str
        A sentence or two for the learner; it starts with ``Right:``, ``Not yet:`` or
        ``Not answered yet:``.

    Examples
    --------
    >>> print(Verdict(True, "Right: the two losses are equal."))
    Right: the two losses are equal.
    """

    ok: bool
    message: str

    def __str__(self) -> str:
        return self.message

    def _repr_markdown_(self) -> str:
        head, colon, rest = self.message.partition(":")
        return f"**{head}{colon}**{rest}"


def right(why: str) -> Verdict:
    """Return the verdict for a right answer; `why` says what it shows."""
    return Verdict(True, f"Right: {why}")


def not_yet(why: str) -> Verdict:
    """Return the verdict for a wrong answer; `why` names the slip and points at the way on."""
    return Verdict(False, f"Not yet: {why}")


def letters(answer: Iterable[str], known: str) -> set[str]:
    """Read an answer that is a set of letters, written small or large; ValueError for one not in `known`."""
    given = {str(letter).strip().upper() for letter in answer}
    if unknown := sorted(given - set(known)):
        raise ValueError(f"there is no {', '.join(unknown)}; the letters go from {known[0]} to {known[-1]}")
    return given


def check(expected: str) -> Callable[[Callable[[Any], Verdict]], Callable[[Any], Verdict]]:
    """Turn a function of one answer into a check that never raises.

    Parameters
    ----------
    expected : str
        What the answer should be, as a noun phrase: ``"a number, the loss in nats"``. If it starts with
        ``"a function"``, nothing but a function will do, and else no function will.

    Returns
    -------
    callable
        A decorator. The check it makes says "Not answered yet" to ``...`` and ``None``, and
        "Not yet" when the answer makes the check raise, or is a function where none was asked for.

    Examples
    --------
    >>> @check("a number, six times seven")
    ... def product(answer):
    ...     return right("it is 42.") if answer + 0 == 42 else not_yet("multiply, don't add.")
    >>> print(product(...))
    Not answered yet: replace the dots in `answer = ...` with a number, six times seven.
    >>> print(product(13))
    Not yet: multiply, don't add.
    >>> print(product(lambda: 42))
    Not yet: your answer is a function. Expected: a number, six times seven.
    >>> print(product("42")) # doctest: +ELLIPSIS
    Not yet: your answer raised TypeError: ... Expected: a number, six times seven.
    """

    def decorate(judge: Callable[[Any], Verdict]) -> Callable[[Any], Verdict]:
        @functools.wraps(judge)
        def judged(answer: Any = ...) -> Verdict:
            if answer is ... or answer is None:
                message = f"replace the dots in `answer = ...` with {expected}."
                return Verdict(False, f"Not answered yet: {message}")
            if callable(answer) != expected.startswith("a function"):
                kind = "a function" if callable(answer) else f"of type {type(answer).__name__}"
                return not_yet(f"your answer is {kind}. Expected: {expected}.")
            try:
                return judge(answer)
            except Exception as error:
                # A learner's function may raise anything; a traceback through this module
                # would teach nothing.
                reason = " ".join(str(error).split()) or "no message"
                return not_yet(
                    f"your answer raised {type(error).__name__}: {reason.rstrip('.')}. Expected: {expected}."
                )

        return judged

    return decorate
