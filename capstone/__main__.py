"""Check the receipts of a class and write its leaderboard: `python -m capstone receipts/*.json`."""

import argparse
import sys

from helpers import environment, machine


def main(arguments: list[str] | None = None) -> int:
    """Write the page; return 0, or 1 where this machine isn't ready, or 2 where the arguments won't do."""
    parser = argparse.ArgumentParser("python -m capstone", description=__doc__)
    page = "leaderboard.html"
    parser.add_argument("files", nargs="+", metavar="receipt", help="such as receipts/*.json")
    parser.add_argument("--output", default=page, metavar="page", help=f"where it goes (default: {page})")
    machine.escape_unprintable()
    chosen = parser.parse_args(arguments)
    try:
        environment.require()
        from capstone import leaderboard, submission

        print(leaderboard.write(chosen.files, chosen.output))
    except (ModuleNotFoundError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except submission.CapstoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"The page is {chosen.output}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
