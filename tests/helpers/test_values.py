"""A setting is in its range or refused; a file is all of the old or all of the new."""

import math
from statistics import StatisticsError as OwnError  # any that is not the room's

import numpy as np
import pytest

from helpers.values import replacing, require_range


def test_a_range_holds_its_ends_and_nothing_else_and_numbers_are_shown_as_people_write_them():
    for inside in (0.5, 0, 1):
        require_range("alpha", inside, 0, 1, error=OwnError)
    for value, settings, message in (
        (0, {"above": True}, "a number above 0, at most 1"),
        (math.nan, {}, "a number from 0 to 1"),
        (math.inf, {"high": math.inf}, "a number from 0"),
        (10**400, {"high": math.inf}, "a number from 0"),
        (True, {}, "a number"),
        ("0.5", {}, "a number"),
        (None, {}, r"a number from 0 to 1\. Unknown is not 0"),
        (1.0, {"whole": True}, "a whole number from 0 to 1"),
        (2_000, {"whole": True, "high": 1_000}, "a whole number from 0 to 1,000"),
    ):
        settings = {"low": 0, "high": 1, "error": OwnError, **settings}
        with pytest.raises(OwnError, match=rf"alpha is {value!r}: expected {message}"):
            require_range("alpha", value, **settings)
    for value, message in (
        (np.int64(7), "is 7: expected a whole number from 1 to 5.$"),
        (np.float32(1.5), "is 1.5: expected a whole number from 1 to 5.$"),
        ([np.int64(2), (np.bool_(True),)], r"is \[2, \(True,\)\]: expected"),
        (np.arange(3), r"is \[0, 1, 2\]: expected"),
        (np.int64(3), r"is 3: .* from 1 to 5. This is of type int64: make it .* with .item\(\)"),
    ):
        with pytest.raises(OwnError, match=f"^steps {message}"):
            require_range("steps", value, 1, 5, whole=True, error=OwnError)


@pytest.mark.parametrize("folder", [False, True])
def test_what_fails_leaves_the_old_and_what_works_replaces_it(tmp_path, folder):
    def write(text):
        with replacing(tmp_path / "model") as new:
            if folder:
                new.mkdir()
            (new / "a" if folder else new).write_text(text)
            if text == "half":
                raise KeyboardInterrupt

    target = tmp_path / "model" / "a" if folder else tmp_path / "model"
    for text, there in (("old", "old"), ("new", "new")):
        write(text)
        with pytest.raises(KeyboardInterrupt):
            write("half")
        assert target.read_text() == there and [path.name for path in tmp_path.iterdir()] == ["model"]
