"""Execute the course, for a look or for storage: `python -m tools --help`."""

from __future__ import annotations

import argparse
import sys

from helpers import environment


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools", description="Watt It Takes: execute the notebooks, for a look or for storage."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    runs = _add(commands, run, "execute the notebooks; copies and a summary go to build/")
    runs.add_argument("--profile", help="parameters from notebooks/profiles.toml: quick, or gpu")
    runs.add_argument(
        "--output", default="build", metavar="folder", help="where the copies go (default: build)"
    )
    _add(commands, store, "execute notebooks and store outputs and costs in them (for maintainers)")
    chosen = parser.parse_args(arguments)
    try:
        environment.require()
        from tools import runner

        return chosen.command(chosen)
    except (ModuleNotFoundError, runner.RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run(chosen: argparse.Namespace) -> int:
    """Execute notebooks and print what each took."""
    from tools import runner

    return runner.run(chosen.names, chosen.profile, chosen.output)


def store(chosen: argparse.Namespace) -> int:
    """Execute notebooks and store their outputs and costs in place."""
    from tools import store as stores

    return stores.store(chosen.names)


def _add(commands: argparse._SubParsersAction, command: object, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(command.__name__, help=text, description=text)
    parser.add_argument("names", nargs="*", metavar="notebook", help="such as fine_tune_bert (default: all)")
    parser.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
