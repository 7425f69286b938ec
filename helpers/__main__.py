"""Is this machine ready, and is the model here: `python -m helpers --help`."""

from __future__ import annotations

import argparse
import sys

from helpers import machine


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers", description="Watt It Takes: check this machine, fetch the model."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command, text in (
        (check, "say OK or FAIL for everything the course needs, with the fix; exit 1 on a FAIL"),
        (fetch, "fetch the pretrained model (90 MB) unless it is here, and verify its SHA-256"),
    ):
        commands.add_parser(command.__name__, help=text, description=text).set_defaults(command=command)
    machine.escape_unprintable()
    try:
        return parser.parse_args(arguments).command()
    except KeyboardInterrupt:
        print("interrupted; nothing half-done was kept", file=sys.stderr)
        return 130  # what a shell expects


def check() -> int:
    """Say what of this machine is ready, and how to fix the rest."""
    from helpers import environment

    return 0 if environment.check() else 1


def fetch() -> int:
    """Fetch the pretrained model unless it is here, and verify it."""
    from helpers import assets

    try:
        print(f"The model is in {assets.fetch_model()}.")
    except assets.AssetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
