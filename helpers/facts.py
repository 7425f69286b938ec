"""The published numbers that the course prints, each with its source: data/facts.csv."""

from dataclasses import dataclass
from pathlib import Path

from helpers.assets import DATA
from helpers.tables import listed, read_table

COLUMNS = ("id", "value", "unit", "what", "source", "year", "where", "basis", "caveat", "seen")


class FactError(ValueError):
    """A table of facts that cannot be read; the message says where and why."""


@dataclass(frozen=True)
class Fact:
    """A published number, a row of data/facts.csv."""

    id: str
    value: float
    unit: str
    what: str
    source: str  # a key of references.bib
    year: int
    where: str  # the place in the source
    basis: str  # measured, modelled, vendor-stated, stated, counted, survey, projected or derived
    caveat: str
    seen: str  # "P" in the source, "A" in its abstract or an excerpt; "D" derived by arithmetic


def load(path: str | Path = DATA / "facts.csv") -> dict[str, Fact]:
    """The published numbers that the course prints, by their id.

    A missing column, an id that stands twice, or a value that is no number raises `FactError`.

    Examples
    --------
    >>> fact = load()["gpt3_energy"]
    >>> print(f"{fact.value:,.0f} {fact.unit}, {fact.basis}, {fact.source}, {fact.where}")
    1,287 MWh, modelled, patterson2021, Table 4
    """
    facts: dict[str, Fact] = {}
    table = read_table(path, FactError)
    if tuple(table.columns) != COLUMNS:
        raise FactError(
            f"{Path(path).name} has the columns {listed(table.columns)}: expected {', '.join(COLUMNS)}."
        )
    for line, *row in zip(table.lines, *table.columns.values(), strict=True):
        fields: dict = dict(zip(COLUMNS, row, strict=True))
        try:
            fact = Fact(**fields | {"value": float(fields["value"]), "year": int(fields["year"])})
        except ValueError as error:
            raise FactError(f"{Path(path).name}, line {line}: {error}. Write a plain number.") from error
        if fact.id in facts:
            raise FactError(f"{Path(path).name}, line {line}: {fact.id!r} stands there twice.")
        facts[fact.id] = fact
    return facts
