"""Check the receipts of a class and write its leaderboard: `python -m capstone receipts/*.json`."""

from __future__ import annotations

import argparse
import sys

from helpers import environment


def main(arguments: list[str] | None = None) -> int:
    """Write the leaderboard and return the exit status: 2 where a file is no receipt of the capstone."""
    parser = argparse.ArgumentParser(
        prog="python -m capstone",
        description="Check receipts of the capstone, and rank them on an HTML page.",
    )
    parser.add_argument("files", nargs="+", metavar="receipt", help="such as receipts/*.json")
    parser.add_argument(
        "--output",
        default="leaderboard.html",
        metavar="page",
        help="where it goes (default: leaderboard.html)",
    )
    chosen = parser.parse_args(arguments)
    try:
        environment.require()
        from capstone import leaderboard, submission

        print(leaderboard.leaderboard(chosen.files, chosen.output))
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
