"""A measured figure as a file: saved with its raw samples, read, checked, and computed again.

Nothing here measures. A figure that was read from a receipt says where and when it was recorded.
"""

import datetime
import hashlib
import json
import math
import platform
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from helpers import assets, energy, machine
from helpers.values import replacing

SCHEMA = assets.DATA / "receipt.schema.json"
Figure = energy.Measurement | energy.Comparison | energy.Predictions | energy.Training
KINDS: dict[str, Any] = {kind.__name__.lower(): kind for kind in get_args(Figure)}
PACKAGES = ["codecarbon", "torch", "transformers", "tokenizers", "accelerate", "peft", "numpy"]
PACKAGES += ["scikit-learn", "onnxruntime", "mlcommons-loadgen"]  # whose versions can change a figure
NO_FIGURE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
TOLERANCE = 1e-9  # of a figure that is computed again: processors round the last bit differently


class ReceiptError(ValueError):
    """A receipt that cannot be made or read; the message says what was expected."""


def make(
    what: str,
    figures: Mapping[str, Figure],
    *,
    made_by: str,
    seed: int | None = None,
    inputs: Sequence[str | Path] = (),
    settings: Mapping[str, object] | None = None,
    details: Mapping[str, object] | None = None,
) -> dict:
    """A receipt of some figures, as a dict that follows data/receipt.schema.json, which describes its parts.

    `inputs` are data and model files, whose SHA-256 sums go into it, `settings` whatever else the figures
    depend on, and `details` what was found besides, such as runs with their histories: plain values, and
    figures among them. What JSON cannot hold, another kind of figure, or none raises `ReceiptError`.
    """
    versions = {"python": platform.python_version()} | {n: machine.installed_version(n) for n in PACKAGES}
    receipt: dict = {
        "receipt": 1,  # version of the schema
        "what": what,
        "made_by": made_by,
        "recorded": datetime.date.today().isoformat(),
        "hardware": machine.hardware(),
        "versions": {name: version for name, version in versions.items() if version},
        "method": {},
        "seed": seed,
        "inputs": {_name(Path(path)): assets.sha256(Path(path)) for path in inputs},
        "settings": dict(settings or {}),
        "figures": dict(figures),
        "details": dict(details or {}),
    }
    try:  # plain values now, as a file would give them back
        receipt = json.loads(json.dumps(receipt, default=_stored, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ReceiptError(f"A receipt cannot hold this: {error}. What is unknown is None.") from None
    again = replay(receipt | {"digest": digest(receipt)})
    if not again.figures:
        raise ReceiptError("There is no figure: expected at least one measurement to make a receipt of.")
    receipt["method"] = _methods(again.figures.values())
    return receipt | {"digest": digest(receipt)}


def digest(receipt: Mapping) -> str:
    """SHA-256 of a receipt without its digest: any change of the file changes it."""
    rest = {name: value for name, value in receipt.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def validate(receipt: Mapping, schema: Path = SCHEMA) -> None:
    """Check a receipt against a schema; a ReceiptError says the first place that does not follow it."""
    import jsonschema

    checker = jsonschema.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    if error := jsonschema.exceptions.best_match(checker.iter_errors(receipt)):
        where = ".".join(map(str, error.absolute_path)) or "the receipt"
        raise ReceiptError(f"{where}: {error.message[:200]}. {schema.name} says what is expected.")


def save(receipt: Mapping, path: str | Path) -> Path:
    """Write a receipt in one piece, after checking it."""
    validate(receipt)
    with replacing(path) as new:
        new.write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8", newline="\n")
    return Path(path)


def load(path: str | Path) -> dict:
    """Read a receipt; one that isn't there or isn't as the schema has it raises `ReceiptError`."""
    path = Path(path)
    try:
        receipt = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_no_json)
        validate(receipt)
    except FileNotFoundError:
        raise ReceiptError(f"There is no receipt {path.name}: look into {path.parent.name}.") from None
    except (ValueError, RecursionError, OSError) as error:
        raise ReceiptError(f"{path.name} is no receipt: {str(error).rstrip('.')}. Get it anew.") from None
    return receipt


class Replay(NamedTuple):
    """A receipt whose figures were computed again from their raw samples."""

    receipt: dict
    figures: dict[str, Figure]  # those in the details too, named by their place: "details.runs[0].cost"
    details: dict  # the receipt's, each figure in them as computed again
    problems: tuple[str, ...]  # what does not agree with the file

    @property
    def ok(self) -> bool:
        """Whether every figure is equal to the stored one."""
        return not self.problems

    def __str__(self) -> str:
        count = len(self.figures)
        head = f"{count} figure{'s' if count != 1 else ''} {recorded(self.receipt)}, computed again: "
        return head + ("all equal." if self.ok else "NOT EQUAL. " + " ".join(self.problems))


def replay(source: str | Path | Mapping) -> Replay:
    """Compute every figure of a receipt, or of its file, again from its raw samples, and compare.

    Raises `ReceiptError` if it is not a receipt, or if its raw samples make no figure.
    """
    receipt = dict(source) if isinstance(source, Mapping) else load(source)
    figures: dict[str, Figure] = {}
    problems: list[str] = []

    def again(value: Any, place: str) -> Any:
        if isinstance(value, list):
            return [again(each, f"{place}[{at}]") for at, each in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if value.keys() != {"kind", "raw", "results"}:
            return {name: again(each, f"{place}.{name}") for name, each in value.items()}
        try:
            figure = figures[place] = KINDS[value["kind"]].from_raw(value["raw"])
            differences = _differences(value["results"], json.loads(json.dumps(figure.results())))
        except NO_FIGURE as error:
            raise ReceiptError(f"The raw samples of {place!r} make no {value['kind']}: {error}.") from error
        problems.extend(f"{place}: {difference}." for difference in differences)
        return figure

    try:
        validate(receipt)
        if digest(receipt) != receipt["digest"]:
            problems.append("The file was changed after it was saved: its digest does not fit.")
        for name, stored in receipt["figures"].items():
            again(stored, name)
        details = again(receipt.get("details", {}), "details")
    except RecursionError:
        raise ReceiptError("It is nested too deep for a receipt. Get it anew.") from None
    if (methods := _methods(figures.values())) != receipt["method"]:
        problems.append(f"The methods are {methods}, the file says {receipt['method']}.")
    return Replay(receipt, figures, details, tuple(problems))


def hardware_name(receipt: Mapping) -> str:
    """The machine that a receipt was recorded on, in words: "2 cores of AMD EPYC", and its GPUs."""
    found = receipt["hardware"]
    return ", ".join([f"{found['cores']} cores of {found['cpu']}", *found.get("gpus", ())])


def recorded(receipt: Mapping) -> str:
    """Where and when, to stand beside each figure that was not measured just now."""
    return f"recorded on {receipt['recorded']} on {hardware_name(receipt)}"


def _no_json(constant: str) -> None:
    raise ReceiptError(f"It holds {constant}, which is not JSON and no figure: what is unknown is null.")


def _stored(figure: Any) -> dict:
    if isinstance(figure, Figure):
        return {"kind": type(figure).__name__.lower(), "raw": figure.raw(), "results": figure.results()}
    raise TypeError(f"a {type(figure).__name__} is no plain value and no figure, one of {', '.join(KINDS)}")


def _costs(figure: Figure) -> list[energy.Measurement]:
    if isinstance(figure, energy.Comparison):
        return [run for runs in figure.runs.values() for run in runs]
    return [figure if isinstance(figure, energy.Measurement) else figure.cost]


def _methods(figures: Collection[Figure]) -> dict[str, str]:
    """How each component is known; a block too short to tell says nothing where another block does."""
    parts = [part for figure in figures for cost in _costs(figure) for part in cost.components]
    parts.sort(key=lambda part: part.method is not None)
    return {part.name: f"{part.method or 'unknown'}: {part.source}" for part in parts}


def _name(path: Path) -> str:
    """A file's name within the course, or alone: no receipt tells where someone's folders are."""
    path = path.resolve()
    return path.relative_to(assets.ROOT).as_posix() if path.is_relative_to(assets.ROOT) else path.name


def _differences(stored: Any, again: Any, name: str = "") -> list[str]:
    """Where two results differ by more than rounding."""
    if isinstance(stored, dict) and isinstance(again, dict):
        pairs = [(f"{name}.{key}".lstrip("."), stored.get(key), again.get(key)) for key in stored | again]
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        pairs = [(f"{name}[{at}]", *both) for at, both in enumerate(zip(stored, again, strict=True))]
    else:
        numbers = isinstance(stored, int | float) and isinstance(again, int | float)
        if stored == again or (numbers and math.isclose(stored, again, rel_tol=TOLERANCE)):
            return []
        return [f"{name} is stored as {stored!r} and computes to {again!r}"]
    return [difference for each, old, new in pairs for difference in _differences(old, new, each)]
