"""The published numbers that the course prints, each with its source: data/facts.csv."""

import csv
from dataclasses import dataclass

from helpers.assets import DATA


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


def load() -> dict[str, Fact]:
    """The published numbers that the course prints, by their id.

    Examples
    --------
    >>> fact = load()["gpt3_energy"]
    >>> print(f"{fact.value:,.0f} {fact.unit}, {fact.basis}, {fact.source}, {fact.where}")
    1,287 MWh, modelled, patterson2021, Table 4
    """
    with (DATA / "facts.csv").open(encoding="utf-8", newline="") as file:
        rows: list[dict] = list(csv.DictReader(file))
    facts = (Fact(**row | {"value": float(row["value"]), "year": int(row["year"])}) for row in rows)
    return {fact.id: fact for fact in facts}
