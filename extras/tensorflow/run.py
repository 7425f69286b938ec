"""Execute the TensorFlow notebook in its own environment, and print its table: what `make extras` calls.

A copy goes to build/extras. With `--store`, for maintainers, the notebook is executed in place.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from helpers import machine  # noqa: E402  # this environment has the packages, not the course
from tools import notebooks, runner, store  # noqa: E402  # this environment has the packages, not the course


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the optional TensorFlow notebook and print its table.")
    parser.add_argument("--profile", help="parameters from profiles.toml beside the notebook: quick")
    parser.add_argument("--store", action="store_true", help="execute in place (for maintainers)")
    machine.escape_unprintable()
    chosen = parser.parse_args()
    if chosen.store:
        return store.store(folder=HERE, readme=HERE / "no-table-to-write")
    output = ROOT / "build" / "extras"
    status = runner.run(profile=chosen.profile, output=output, folder=HERE)
    for path in notebooks.course(HERE).values() if not status else ():
        for cell in notebooks.tagged(notebooks.read(output / path.name), "table"):
            print(*(f"\n{printed.text.rstrip()}" for printed in cell.outputs if "text" in printed))
    return status


if __name__ == "__main__":
    sys.exit(main())
