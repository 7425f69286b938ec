"""The arrows between the houses, read from every import: one way, no circles, nothing back into helpers."""

import ast
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

from tests import shared
from tools.notebooks import ROOT

HOUSES = (*shared.HOUSES, "tests")
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for house in shared.HOUSES
    for path in (ROOT / house).rglob("*.py")
}


def imports(name: str, path: Path, at_once: bool = False) -> set[str]:
    """The course's modules that a file imports; `at_once` leaves out what a function imports when called."""
    found, nodes = set(), [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        nodes += [] if at_once and (later or typing) else ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            module = resolve_name("." * node.level + (node.module or ""), package)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    known = {each if each in FILES else each.rpartition(".")[0] for each in found}
    return {each for each in known if each.split(".")[0] in HOUSES} - {name}


def test_no_house_stands_on_one_that_stands_on_it():
    arrows = {house: set() for house in HOUSES}
    for name, path in FILES.items():
        house = name.split(".")[0]
        arrows[house] |= {each.split(".")[0] for each in imports(name, path)} - {house}
    assert not any("tests" in found for found in arrows.values())
    assert arrows["helpers"] == set() and sum(name.startswith("helpers.") for name in FILES) > 15
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("house", shared.HOUSES)
def test_no_module_imports_itself_around_a_corner(house):
    inside = {name: path for name, path in FILES.items() if name.split(".")[0] == house}
    arrows = {name: imports(name, path, at_once=True) & inside.keys() for name, path in inside.items()}
    for name in arrows:  # a package's __init__ gathers what its modules import from each other, by full name
        arrows[name] -= {each for each in inside if name.startswith(f"{each}.")}
    TopologicalSorter(arrows).prepare()
