"""What every room asks of a setting, how it writes a file, and how its figures look: one way of each."""

import contextlib
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path


def plain(value: object) -> object:
    """Numbers of NumPy and PyTorch as Python's own, in lists too: people write 7, not np.int64(7)."""
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value.tolist() if hasattr(value, "tolist") else value


def require_range(
    name: str,
    value: object,
    low: float,
    high: float = math.inf,
    *,
    whole: bool = False,
    above: bool = False,
    error: type[ValueError] = ValueError,
) -> None:
    """Refuse a setting that is no finite number, or outside of `low` to `high`.

    `whole` asks for a whole number, `above` for more than `low`. The `error` has name, value and range.

    Examples
    --------
    >>> require_range("pue", 1.1, 1)
    >>> require_range("target", None, 0, 1, above=True)
    Traceback (most recent call last):
    ...
    ValueError: target is None: expected a number above 0, at most 1. Unknown is not 0: measure it first.
    """
    number, fits = plain(value), False
    if isinstance(number, int if whole else int | float) and not isinstance(number, bool):
        finite = abs(number) <= sys.float_info.max  # of whole numbers too: more is no number to compute with
        fits = finite and (low < number if above else low <= number) and number <= high
    if fits and isinstance(value, int | float):
        return
    kind = "a whole number" if whole else "a number"
    bounds = f"above {low:,g}" if above else f"from {low:,g}"
    if math.isfinite(high):
        bounds += f", at most {high:,g}" if above else f" to {high:,g}"
    hint = " Unknown is not 0: measure it first." if value is None else ""
    if fits:  # JSON and PyTorch, which settings go to, take no other
        hint = f" This is of type {type(value).__name__}: make it one of Python's own with .item()."
    raise error(f"{name} is {number!r}: expected {kind} {bounds}.{hint}")


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a name to write a file or a folder under; it takes the place of `path` if nothing goes wrong.

    Whatever happens, `path` holds all of the old or of the new, and no half stays. Folders above it are made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "new", "a.txt")) as new:
    ...         _ = new.write_text("whole")
    ...     Path(folder, "new", "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        new = Path(folder, path.name)
        yield new
        if path.is_dir():  # no folder takes the place of another that has files
            path.rename(Path(folder, f"{path.name}.old"))
        new.replace(path)


def significant_digits(value: float | None) -> str:
    """Three significant digits, without an exponent; "unknown" for None.

    Examples
    --------
    >>> significant_digits(0.00093), significant_digits(12_345.6), significant_digits(None)
    ('0.000930', '12,346', 'unknown')
    """
    if not value:
        return "unknown" if value is None else "0"
    exponent = int(f"{value:.2e}".partition("e")[2])  # of the rounded value: 0.9996 has that of 1.00
    return f"{value:,.{max(0, 2 - exponent)}f}"


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain HTML table; every cell is escaped."""
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    names = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit, or "unknown"."""
    return significant_digits(value) + ("" if value is None else f" {unit}")


def between(low: float | None, high: float | None) -> str:
    return f"{significant_digits(low)} to {significant_digits(high)}"
