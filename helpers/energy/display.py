"""How figures look in a record's line and in its table."""

from collections.abc import Sequence
from html import escape


def significant_digits(value: float | None) -> str:
    """Three significant digits, without an exponent; "unknown" for None.

    Examples
    --------
    >>> significant_digits(0.00093), significant_digits(12_345.6), significant_digits(None)
    ('0.000930', '12,346', 'unknown')
    """
    if value is None:
        return "unknown"
    if value == 0:
        return "0"
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
