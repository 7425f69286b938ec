"""Receipts are checked, grouped and ranked; what is edited, foreign or broken is named, and harms no one."""

import copy
import itertools
import json
import math
import random
import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from capstone import leaderboard, submission
from capstone.__main__ import main
from helpers import assets, energy, receipts

RUNS, EVIL = itertools.count(1), "<script>alert(1)</script>"
NONSENSE = (None, "x", -1, 0, [], {}, math.nan, math.inf, True, 10**400)


def cost(label, wall_s, load=1.0, cpu_w=8.0, foreign=0.0, **work):
    """A measurement as CodeCarbon's model gives it."""
    cpu_wh = cpu_w * (0.1 + 0.9 * load**3) * wall_s / 3_600
    source = f"{cpu_w:.0f} W at most x (0.1 + 0.9 load cubed)"
    cpu = energy.Component("CPU", cpu_wh, "modelled", source, cpu_w)
    parts = cpu, energy.Component("RAM", 20 * wall_s / 3_600, "assumed", "constant 20 W", 20.0)
    return energy.Measurement(label, wall_s, 2 * load * wall_s, parts, "USA", 369.0, "", foreign, work=work)


def make(name="a", train_s=30.0, right=900, target=0.8, budget=30.0, window_s=10.0, cpu="a CPU", **how):
    """A receipt that agrees with itself, as a judge on another computer would have made it."""
    jitter = next(RUNS) * 1e-6  # no two runs take the same time
    labels = submission.hidden_rows()["label"][:]
    answers = [str(label if row < right else 1 - label) for row, label in enumerate(labels)]
    latencies = (0.1 + jitter,) * int(window_s / 0.11)
    count, training = len(latencies) * submission.BATCH, cost("train", train_s + jitter, **how, calls=1)
    serving = cost("predict", window_s + jitter, **how, predictions=count)
    predict = energy.Predictions(serving, count, latencies, submission.BATCH, right, 1_000)
    references = [cost("reference", seconds + jitter, **how) for seconds in (5.0, 5.2)]
    figures = dict(zip(submission.FIGURES, (training, predict, *references), strict=True))
    asked = {"task": submission.TASK, "name": name, "target": target, "budget": budget, "asked": 3}
    answered = {"commitment": submission.COMMITMENT, "answers": "".join(answers)}
    inputs = [assets.DATA / split for split in submission.SPLITS]
    receipt = receipts.make("a test", figures, made_by="a test", inputs=inputs, settings=asked | answered)
    receipt["hardware"] |= {"cpu": cpu, "cores": 2, "gpus": []}
    return sealed(receipt)


def sealed(receipt, again=True):
    """The receipt with its results and its digest computed anew, as one who edits it would."""
    receipt = json.loads(json.dumps(receipt))
    for figure in receipt["figures"].values() if again else ():
        figure["results"] = receipts.KINDS[figure["kind"]].from_raw(figure["raw"]).results()
    return receipt | {"digest": receipts.digest(receipt)}


@pytest.fixture(scope="module")
def honest():
    return make()


@pytest.fixture
def board(tmp_path, monkeypatch):
    """Sort receipts, given as dicts or as text; the files are 0.json, 1.json and so on."""
    monkeypatch.chdir(tmp_path)

    def sort(*given):
        for place, receipt in enumerate(given):
            text = receipt if isinstance(receipt, str) else json.dumps(receipt)
            Path(f"{place}.json").write_text(text, encoding="utf-8")
        return leaderboard.sort(sorted(Path().glob("*.json")))

    return sort


def names(board):
    return [entry.name for group in board.groups.values() for entry in group]


def edit(receipt, *path, to, again=True):
    receipt = inner = copy.deepcopy(receipt)
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to(inner[path[-1]]) if callable(to) else to
    return sealed(receipt, again)


TRAIN, PREDICT, AFTER = (("figures", name, "raw") for name in ("train", "predict", "reference_after"))
EDITS = {
    "a result": ((*TRAIN[:2], "results", "energy_wh"), 0.01, False, "computes to"),
    "the rows counted": ((*PREDICT, "scored"), 901, True, "by its answers 900"),
    "the answers": (("settings", "answers"), "1" * 1_000, True, "by its answers 491"),
    "an energy": ((*TRAIN, "components", 0, "energy_wh"), 0.001, True, "the CPU's energy, modelled from 8 W"),
    "an energy, with care": ((*TRAIN, "components", 0, "energy_wh"), 0.01, True, "do not fit the CPU's"),
    "a constant": ((*TRAIN, "components", 1, "energy_wh"), 0.001, True, "do not fit the RAM's"),
    "an energy of nothing": ((*PREDICT, "cost", "components", 0, "energy_wh"), 0.0, True, "0 J in 10 s"),
    "the time": ((*TRAIN, "wall_s"), 3.0, True, "2 cores worked 60 s in 3 s"),
    "the window": ((*PREDICT, "cost", "wall_s"), 6.0, True, "longer together than the window"),
    "the predictions": ((*PREDICT, "count"), 900_000, True, "numbers of predictions and of batches"),
    "the batch": ((*PREDICT, "batch_size"), 1, True, "numbers of predictions and of batches"),
    "how often it trained": ((*TRAIN, "work", "calls"), 30, True, "30 trainings took 30 s"),
    "what it rests on": ((*TRAIN, "components", 0, "basis_w"), 0.8, True, "energy, modelled from 0.8 W"),
    "that it rests on something": ((*TRAIN, "components", 0, "basis_w"), None, True, "do not fit the CPU's"),
    "a longer reference": ((*AFTER, "wall_s"), 50.0, True, "running the reference"),
    "the method": (("method", "CPU"), "measured: a counter", True, "The methods are"),
    "the data": (("inputs", "data/reviews/train.csv"), "0" * 64, True, "other data: reviews/train.csv"),
    "the rows": (("settings", "commitment"), "0" * 64, True, "asked about other rows"),
}


@pytest.mark.parametrize(("path", "value", "again", "shown"), EDITS.values(), ids=EDITS)
def test_what_was_edited_is_flagged(path, value, again, shown, board, honest):
    receipt = edit(honest, *path, to=value, again=again)
    found = board(receipt)
    [(file, name, why)] = found.flagged
    assert (file, name, names(found)) == ("0.json", "a", []) and shown in why
    assert "Flagged: " in leaderboard.describe(submission.read(receipt))


def test_neither_short_trainings_that_the_judge_repeats_nor_a_container_of_a_few_cores_is_an_edit(board):
    """CodeCarbon's load is of the whole machine; a receipt's cores are those that a program may use."""
    for seconds, calls, flagged in ((2.7, 3, 0), (2.03, 70, 0), (7.6, 2, 1)):  # the last: 3 times the window
        assert len(board(edit(make(train_s=seconds), *TRAIN, "work", "calls", to=calls)).flagged) == flagged
    receipt = make(load=1 / 8)  # 2 of 16 cores, all the time
    for figure in (receipt["figures"]["train"]["raw"], receipt["figures"]["predict"]["raw"]["cost"]):
        figure["cpu_s"] = 2.1 * figure["wall_s"]  # a quota of 2.1 counts as 2
    assert board(sealed(receipt)).flagged
    assert names(board(edit(receipt, "settings", "machine_cores", to=16))) == ["a"]


def test_a_receipt_counts_once_a_neighbors_flags_both_and_an_edited_one_itself(board, honest):
    found = board(honest, json.dumps(honest, indent=3))
    assert names(found) == ["a"] and submission.read(honest).ranked
    assert str(found).startswith("1 entry in 1 group, 0 flagged, 1 refused")
    assert found.refused == [("1.json", "It is the same receipt as 0.json.")]
    for own, value in ((("settings", "name"), "b"), ((*TRAIN, "wall_s"), 30.01)):
        found = board(honest, edit(honest, *own, to=value))
        assert [re.search(r"those of (\S+):", why)[1] for *_, why in found.flagged] == ["1.json", "0.json"]
    edited, torn = edit(honest, *PREDICT, "right", to=990), honest | {"digest": "0" * 64}
    for copied, shown in ((edited, "by its answers 900"), (torn, "its digest does not fit")):
        found = board(copied, honest)
        [(file, _, why)] = found.flagged
        assert (file, names(found), found.refused) == ("0.json", ["a"], []) and shown in why


def test_what_is_no_entry_unknown_or_out_of_bounds_is_refused_with_the_reason(board, honest):
    for text, shown in (
        ('{"receipt": 1, ', "no receipt: Expecting"),
        ("[]", "is not of type 'object'"),
        ("{}", "required property"),
        ((assets.DATA / "receipts/labels.json").read_text(), "none of capstone 2"),
    ):
        found = board(text, honest)
        [(file, why)] = found.refused
        assert file == "0.json" and re.search(shown, why)
        assert names(found) == ["a"], "one broken file does not stop the others"
    gone = {"energy_wh": None, "method": None, "source": "too short to tell"}
    unknown = "unknown, which is not 0: CPU unknown (too short to tell)"
    for path, value, shown in (
        ((*TRAIN, "components"), lambda parts: [part | gone for part in parts], unknown),
        ((*TRAIN, "work", "calls"), 0.5, "figures.train.raw.work.calls: 0.5 is not of type 'integer'"),
        (("settings", "name"), "x" * 100_000, "settings.name: 'xxx"),
        (("settings", "name"), "x" * (submission.MAX_NAME + 1), "is too long"),
        (("settings", "task"), "capstone 1", "of capstone 1, and this judge reads capstone 2 alone"),
        (("settings", "task"), "another", "settings.task: 'capstone 2' was expected"),
        (("settings", "asked"), 0, "settings.asked: 0 is less than"),
        ((*AFTER, "wall_s"), 1e-300, "reference_after.raw.wall_s: 1e-300 is less"),
        (("figures",), lambda all: dict(list(all.items())[:3]), "'reference_after' is a required property"),
    ):
        [(_, why)] = board(edit(honest, *path, to=value)).refused
        assert shown in why and len(why) < 300


def places(value, path=()):
    """Every place in a receipt's raw samples and settings."""
    yield path
    inside = dict(enumerate(value[:2])) if isinstance(value, list) else value
    for name, inner in inside.items() if isinstance(inside, dict) else ():
        yield from places(inner, (*path, name))


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: str(value)[:9])
def test_nonsense_anywhere_stops_nothing(value, tmp_path):
    receipt, survivors = make(window_s=0.5), []
    for path in places({name: receipt[name] for name in ("settings", "figures", "hardware", "versions")}):
        broken = edit(receipt, *path, to=lambda _: value, again=False) if path else value
        (tmp_path / "0.json").write_text(json.dumps(broken))
        found = leaderboard.sort([tmp_path / "0.json"])
        assert len(found.flagged) + len(found.refused) + len(names(found)) == 1, path
        survivors += [entry for group in found.groups.values() for entry in group]
    groups = {("a machine", "a way", 0.8, 1.0): survivors} if survivors else {}
    leaderboard.page(leaderboard.Board(groups, [], []))


def test_only_one_kind_of_hardware_and_one_task_are_ranked_together(board):
    """With less energy from less power nothing in a receipt disagrees, and it competes with no one."""
    less = edit(make("g"), *TRAIN, "components", 0, "basis_w", to=0.8)
    less = edit(less, *TRAIN, "components", 0, "energy_wh", to=lambda wh: wh / 10)
    others = [make("b", cpu="a faster CPU"), make("d", cpu_w=65.0), make("e", target=0.85), less]
    groups = board(make("a"), *others, make("f", budget=40.0), make("c")).groups.values()
    found = sorted(sorted(entry.name for entry in group) for group in groups)
    assert found == [["a", "c"], ["b"], ["d"], ["e"], ["f"], ["g"]]


def test_the_least_time_or_measured_energy_at_the_target_comes_first_and_a_miss_has_no_rank(board):
    [group] = board(
        make("thirsty", train_s=60.0),
        make("coin", train_s=2.0, right=500),
        make("frugal", train_s=20.0),
        make("over", train_s=300.0),
        make("beside others", train_s=5.0, foreign=0.3),
        make("brief", train_s=6.0, window_s=2.0),
    ).groups.values()
    assert [entry.name for entry in group] == ["frugal", "thirsty", "coin", "beside others", "brief", "over"]
    assert leaderboard.marks(group) == ["1", "2", "(3)", "(4)", "(5)", "(6)"]
    said = {entry.name: "; ".join(leaderboard.remarks(entry)) for entry in group}
    assert [said[one] for one in ("frugal", "coin", "over")] == ["", "missed the target", "over the budget"]
    assert said["beside others"].startswith("other programs used the machine: 30% while training, 30% while")
    assert "looked at for 2.0 s, 10 s are asked" in said["brief"] and group[0].price == group[0].multiple
    assert submission.Attempt.price.fget(SimpleNamespace(method="measured", job_wh=1, multiple=2)) == 1


def test_the_front_holds_whom_no_one_beats_and_an_entry_is_told_where_it_stands():
    draw = random.Random(0)
    pairs = [(draw.randint(1, 6), draw.randint(80, 90)) for _ in range(25)]
    front = submission.pareto_front([SimpleNamespace(price=s, accuracy=right) for s, right in pairs])
    beaten = [any(a <= s and b >= right and (a, b) != (s, right) for a, b in pairs) for s, right in pairs]
    best = sorted(pair for pair, behind in zip(pairs, beaten, strict=True) if not behind)
    assert [(one.price, one.accuracy) for one in front] == best and submission.pareto_front([]) == []
    best, elsewhere = submission.read(make("best", 90.0)), submission.read(make("else", 1.0, cpu="other"))
    frugal, thirsty = submission.read(make("frugal", 20.0, 850)), submission.read(make("thirsty", 60.0, 840))
    flagged = submission.read(edit(make("flagged", 1.0, 990), *PREDICT, "right", to=1_000))
    behind = leaderboard.placement(thirsty, [frugal, best, elsewhere, flagged, thirsty])
    assert behind.startswith("Behind the Pareto front of 2 other entries on this hardware: frugal has 85.0% ")
    ahead = leaderboard.placement(frugal, [best, elsewhere, thirsty])
    assert ahead.startswith("On the Pareto front, beside 2 other entries")
    assert leaderboard.placement(frugal, [frugal, elsewhere]).startswith("No other entry on this hardware")


def parsed(text):
    """The page's body; an error if anything in it is left open."""
    return ElementTree.fromstring(text[text.index("<body>") : text.index("</html>")])


def test_the_page_is_whole_and_takes_nothing_from_outside(board, honest):
    text = leaderboard.page(board(honest, make("b", right=850), "{", edit(honest, *PREDICT, "right", to=0)))
    page = parsed(text)
    shown = "".join(page.itertext())
    assert [each.text for each in page.iter("h2")][1:] == ["Flagged", "Refused"]
    [image] = page.iter("img")
    assert image.get("src").startswith("data:image/png;base64,") and image.get("alt")
    assert "90.0%" in shown and "85.0%" in shown
    [row, _] = [[cell.text for cell in row.iter("td")] for row in list(page.iter("tr"))[1:3]]
    assert row[3].endswith(" x the reference") and row[7:9] == ["+4%", "3"], "drift, and how often asked"
    inside = text.replace(image.get("src"), "data:").split("</style>")[1]
    assert not re.search(r"https?:|//|\bsrc=\"(?!data:)", inside) and "default-src 'none'" in text
    assert "assumed (" in shown, "an energy has its method and its range"


def test_what_a_learner_writes_runs_nowhere(board):
    evil = [make(EVIL), make('" onload="x'), make("$\\frac{"), make("a\u202eb\x00c")]
    evil += [make("&amp;", cpu=EVIL * 50), edit(make(EVIL), *PREDICT, "right", to=0)]
    page = parsed(leaderboard.page(board(*evil, json.dumps({"receipt": EVIL}))))
    shown = "".join(page.itertext())
    assert not {"script", "iframe"} & {each.tag for each in page.iter()}
    assert EVIL in shown and "&amp;" in shown and "abc" in shown
    assert all(each.keys() == ["src", "alt"] for each in page.iter("img"))


def test_the_command_writes_a_page_and_says_what_it_found(board, capsys, honest):
    board(honest, make("b"))
    Path("bad.json").write_bytes(b"\xff\xfe\x00")
    Path("folder.json").mkdir()
    before = {*Path().iterdir()}
    assert main(["*.json", "0.json"]) == 0
    out = capsys.readouterr().out
    assert "2 entries in 1 group, 0 flagged, 1 refused" in out and "refused  bad.json: " in out
    assert {*Path().iterdir()} - before == {Path("leaderboard.html")}
    assert len(list(parsed(Path("leaderboard.html").read_text(encoding="utf-8")).iter("img"))) == 1


def test_the_command_says_what_is_missing(tmp_path, capsys, monkeypatch, honest):
    monkeypatch.chdir(tmp_path)
    before = receipts.save(honest, "here.json").read_bytes()
    for arguments, status, shown in (
        ("receipts/*.json", 2, r"There is no file receipts/\*\.json: expected receipts"),
        ("here.json gone.json", 2, "There is no file gone.json"),
        (".", 2, r"There is no file \."),
        ("here.json --output here.json", 2, "ends in .html"),
        ("here.json --output here.json/x.html", 1, "here.json"),
    ):
        assert main(arguments.split()) == status and re.search(shown, capsys.readouterr().err)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("here.json", before)]
