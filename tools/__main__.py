"""Execute the course, for a look or for storage, and keep its links right: `python -m tools --help`."""

import argparse
import importlib
import sys

from helpers import environment, machine
from tools import RunError

COMMANDS = {
    "run": "execute the notebooks; copies and a summary go to build/",
    "store": "execute notebooks and store outputs and costs in them (for maintainers)",
    "links": "write anew what file names decide: links, set-up cells, the README's table",
    "site": "write the stored notebooks as a static site to build/site/",
    "slides": "write the slides of teaching/slides, with the stored figures, to build/slides/",
    "cards": "write the glossary and the quizzes as flash cards for Anki to build/",
    "kit": "write what a room without a network needs to build/kit/: course, packages, models, site",
    "lint": "say what is wrong with the form of the stored notebooks, and what `links` would change",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools", description="Watt It Takes: its notebooks.")
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    known = {name: commands.add_parser(name, help=text, description=text) for name, text in COMMANDS.items()}
    for name in ("run", "store"):
        known[name].add_argument("names", nargs="*", metavar="notebook", help="fine_tune_bert (default: all)")
    known["run"].add_argument("--profile", help="parameters from notebooks/profiles.toml: quick, or gpu")
    known["run"].add_argument("--output", default="build", metavar="folder", help="for the copies (build)")
    example = "windows-amd64-3.12 (default: all)"
    known["kit"].add_argument("targets", nargs="*", metavar="target", help=example)
    known["lint"].add_argument("--tag", help="a release's tag, which the version must agree with: v1.0.0")
    machine.escape_unprintable()
    chosen = parser.parse_args(arguments)
    try:
        environment.require()
        from tools import links, runner, store

        if chosen.command == "run":
            return runner.run(chosen.names, chosen.profile, chosen.output)
        if chosen.command == "store":
            return store.store(chosen.names)
        if chosen.command in ("site", "slides", "cards", "kit"):  # which need more than a learner has
            build = importlib.import_module(f"tools.{chosen.command}").build
            return build(chosen.targets) if chosen.command == "kit" else build()
        lines = links.update() if chosen.command == "links" else links.lint(chosen.tag)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # what a shell expects
    except (ModuleNotFoundError, OSError, RunError) as error:
        more = "; `make site` adds it" if getattr(error, "name", None) else ""  # of an import
        print(f"error: {error}{more}", file=sys.stderr)
        return 1
    for line in lines:
        print(line)
    return int(bool(lines) and chosen.command == "lint")


if __name__ == "__main__":
    sys.exit(main())
