"""Watt It Takes: is this machine ready, and is the model here."""

import argparse
import sys

from helpers import assets, environment, machine


def main(arguments: list[str] | None = None) -> int:
    commands = {"check": lambda: int(not environment.check()), "fetch": fetch}
    parser = argparse.ArgumentParser(prog="python -m helpers", description=__doc__)
    text = "check says OK or FAIL for everything the course needs, with the fix, and exits with 1 on a FAIL; "
    text += "fetch gets the pretrained models (190 MB) unless they are here, and verifies their SHA-256"
    parser.add_argument("command", choices=commands, help=text)
    machine.escape_unprintable()
    try:
        return commands[parser.parse_args(arguments).command]()
    except KeyboardInterrupt:
        print("interrupted; nothing half-done was kept", file=sys.stderr)
        return 130  # what a shell expects


def fetch() -> int:
    """Fetch each pretrained model unless it is here, whatever came of the one before, and verify it."""
    status = 0
    for model in assets.COURSE_MODELS:
        try:
            print(f"The model {model.name} is in {assets.fetch_model(model)}.", flush=True)
        except assets.AssetError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
