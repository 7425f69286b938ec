"""The published numbers that the course prints, each with its source: data/facts.csv."""

from typing import Any

from helpers.assets import DATA


def load() -> dict[str, Any]:
    """The rows of data/facts.csv by their `id`, with its columns as attributes: data/README.md explains them.

    Examples
    --------
    >>> fact = load()["gpt3_energy"]
    >>> print(f"{fact.value:,.0f} {fact.unit}, {fact.basis}, {fact.source}, {fact.where}")
    1,287 MWh, modelled, patterson2021, Table 4
    """
    import pandas as pd

    table = pd.read_csv(DATA / "facts.csv", keep_default_na=False)
    return {fact.id: fact for fact in table.itertuples(index=False, name="Fact")}
