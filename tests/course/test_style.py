"""Code, tests and notebooks pass ruff, as pyproject.toml sets it."""

import pytest

from tests.shared import python


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_finds_nothing(command):
    done = python("-m", "ruff", *command, "--no-cache", ".")
    assert done.returncode == 0, done.stdout + done.stderr
