"""Receipts are checked, grouped and ranked; what is edited, foreign or broken is named, and harms no one."""

import copy
import html.parser
import itertools
import json
import random
import re

import pytest

from capstone import leaderboard, submission
from helpers import assets, energy, receipts
from helpers.__main__ import main

RUNS = itertools.count(1)
EVIL = "<script>alert(1)</script>"


def cost(label, wall_s, load=1.0, cpu_w=8.0, ram_w=20.0, foreign=0.0, **work):
    """A measurement as CodeCarbon's model gives it."""
    cpu_wh, ram_wh = cpu_w * (0.1 + 0.9 * load**3) * wall_s / 3_600, ram_w * wall_s / 3_600
    parts = (
        energy.Component("CPU", cpu_wh, "modelled", f"{cpu_w:.0f} W at most x (0.1 + 0.9 load cubed)", cpu_w),
        energy.Component("RAM", ram_wh, "assumed", f"constant {ram_w:.0f} W", ram_w),
    )
    return energy.Measurement(label, wall_s, 2 * load * wall_s, parts, "USA", 369.0, "", foreign, work=work)


def make(name="a", train_s=30.0, right=900, target=0.8, budget_wh=1.0, window_s=10.0, cpu="a CPU", **how):
    """A receipt that agrees with itself, as a judge on another computer would have made it."""
    jitter = next(RUNS) * 1e-6  # no two runs take the same time
    labels = submission.hidden_rows()["label"][:]
    answers = [label if row < right else 1 - label for row, label in enumerate(labels)]
    latencies = tuple(0.1 + jitter for _ in range(int(window_s / 0.11)))
    count = len(latencies) * submission.BATCH
    training = cost("train", train_s + jitter, **how, calls=1)
    serving = cost("predict", window_s + jitter, **how, predictions=count)
    figures = {
        "train": training,
        "predict": energy.Predictions(serving, count, latencies, submission.BATCH, right, 1_000),
    }
    receipt = receipts.make(
        "a test",
        figures,
        made_by="a test",
        inputs=[assets.DATA / split for split in submission.SPLITS],
        settings={
            "task": submission.TASK,
            "name": name,
            "target": target,
            "budget_wh": budget_wh,
            "commitment": submission.COMMITMENT,
            "answers": "".join(map(str, answers)),
        },
    )
    receipt["hardware"] |= {"cpu": cpu, "cores": 2, "gpus": []}
    return sealed(receipt)


def sealed(receipt, again=True):
    """The receipt with its results and its digest computed anew, as one who edits it would."""
    receipt = copy.deepcopy(receipt)
    if again:
        for figure in receipt["figures"].values():
            figure["results"] = receipts.KINDS[figure["kind"]].from_raw(figure["raw"]).results()
    receipt = json.loads(json.dumps(receipt))
    receipt["digest"] = receipts.digest(receipt)
    return receipt


@pytest.fixture(scope="module")
def honest():
    return make()


@pytest.fixture
def board(tmp_path):
    """Sort receipts, given as dicts or as text; the files are 0.json, 1.json and so on."""

    def sort(*given):
        for place, receipt in enumerate(given):
            text = receipt if isinstance(receipt, str) else json.dumps(receipt)
            (tmp_path / f"{place}.json").write_text(text, encoding="utf-8")
        return leaderboard.sort(sorted(tmp_path.glob("*.json")))

    return sort


def names(board):
    return [entry.name for group in board.groups.values() for entry in group]


def edit(receipt, *path, to, again=True):
    receipt = copy.deepcopy(receipt)
    inner = receipt
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to(inner[path[-1]]) if callable(to) else to
    return sealed(receipt, again)


def test_an_honest_receipt_counts(board, honest):
    found = board(honest)
    assert names(found) == ["a"] and found.flagged == found.refused == found.repeated == []
    [[entry]] = found.groups.values()
    assert leaderboard.counts(entry)
    assert str(found) == "1 entry in 1 group, 0 flagged, 0 refused"


TRAIN, PREDICT = ("figures", "train", "raw"), ("figures", "predict", "raw")
EDITS = {
    "a result": ((*TRAIN[:2], "results", "energy_wh"), 0.01, False, "computes to"),
    "the accuracy": ((*PREDICT, "right"), 990, True, "by its answers 900 of 1,000 are"),
    "the rows counted": ((*PREDICT, "scored"), 901, True, "by its answers 900"),
    "the answers": (("settings", "answers"), "1" * 1_000, True, "by its answers 491"),
    "an energy": ((*TRAIN, "components", 0, "energy_wh"), 0.001, True, "do not fit the CPU's"),
    "an energy, with care": ((*TRAIN, "components", 0, "energy_wh"), 0.01, True, "do not fit the CPU's"),
    "a constant": ((*TRAIN, "components", 1, "energy_wh"), 0.001, True, "do not fit the RAM's"),
    "an energy of nothing": ((*PREDICT, "cost", "components", 0, "energy_wh"), 0.0, True, "0 J in 10 s"),
    "the time": ((*TRAIN, "wall_s"), 3.0, True, "2 cores worked 60 s in 3 s"),
    "the window": ((*PREDICT, "cost", "wall_s"), 6.0, True, "longer together than the window"),
    "the predictions": ((*PREDICT, "count"), 900_000, True, "numbers of predictions and of batches"),
    "the batch": ((*PREDICT, "batch_size"), 1, True, "numbers of predictions and of batches"),
    "more CPU time than there is": ((*TRAIN, "cpu_s"), 90.0, True, "2 cores worked 90 s in 30 s"),
    "how often it trained": ((*TRAIN, "work", "calls"), 30, True, "30 trainings took 30 s"),
    "what it rests on": ((*TRAIN, "components", 0, "basis_w"), 0.8, True, "load cubed) rests on 0.8 W"),
    "that it rests on something": ((*TRAIN, "components", 0, "basis_w"), None, True, "rests on None W"),
    "the method": (("method", "CPU"), "measured: a counter", True, "The methods are"),
    "the data": (("inputs", "data/reviews/train.csv"), "0" * 64, True, "other data: reviews/train.csv"),
    "the rows": (("settings", "commitment"), "0" * 64, True, "asked about other rows"),
}


@pytest.mark.parametrize("what", EDITS)
def test_what_was_edited_is_flagged(what, board, honest):
    path, value, again, shown = EDITS[what]
    found = board(edit(honest, *path, to=value, again=again))
    [(file, name, why)] = found.flagged
    assert (file, name) == ("0.json", "a") and shown in why
    assert "Flagged: " in str(submission.read(edit(honest, *path, to=value, again=again)))
    assert names(found) == []


def test_short_trainings_that_the_judge_repeats_are_no_edit(board):
    """Of 0.9 s each; of 30 ms; a first one of 1.9 s, and a second one three times as long."""
    for seconds, calls in ((2.7, 3), (2.03, 70), (7.6, 2)):
        receipt = edit(make(train_s=seconds), *TRAIN, "work", "calls", to=calls)
        assert names(board(receipt)) == (["a"] if seconds < 6 else []), (
            "more than three times the window is flagged"
        )


def test_an_edit_that_forgets_the_digest_is_flagged(board, honest):
    honest = honest | {"recorded": "2020-01-01"}
    assert "digest does not fit" in board(honest).flagged[0][2]


def test_a_neighbors_receipt_under_another_name_flags_both(board, honest):
    found = board(honest, edit(honest, "settings", "name", to="b"))
    assert [(name, re.search(r"those of (\S+):", why)[1]) for _, name, why in found.flagged] == [
        ("a", "1.json"),
        ("b", "0.json"),
    ]


def test_a_neighbors_predictions_with_an_own_training_are_flagged(board, honest):
    found = board(honest, edit(honest, *TRAIN, "wall_s", to=30.01))
    assert len(found.flagged) == 2


def test_an_edited_copy_does_not_harm_the_original(board, honest):
    found = board(honest, edit(honest, *PREDICT, "right", to=990))
    assert names(found) == ["a"]
    assert [file for file, *_ in found.flagged] == ["1.json"]


def test_a_copy_with_another_digest_does_not_hide_the_original(board, honest):
    found = board(honest | {"digest": "0" * 64}, honest)
    assert names(found) == ["a"] and found.repeated == []
    assert [file for file, *_ in found.flagged] == ["0.json"]


def test_a_receipt_given_twice_is_listed_once(board, honest):
    found = board(honest, json.dumps(honest, indent=3))
    assert names(found) == ["a"] and found.repeated == [("1.json", "0.json")]


def test_samples_made_up_with_care_are_not_caught(board):
    """As `entries` says: every receipt of these tests is one."""
    assert board(make()).flagged == []


def unknown(receipt):
    for part in receipt["figures"]["train"]["raw"]["components"]:
        part |= {"energy_wh": None, "method": None, "source": "too short to tell"}
    return sealed(
        receipt | {"method": {"CPU": "unknown: too short to tell", "RAM": "unknown: too short to tell"}}
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"receipt": 1, ', "not JSON"),
        ("", "not JSON"),
        ("[]", "is not of type 'object'"),
        ("{}", "required property"),
        ("[" * 100_000, "not JSON"),
        ('{"receipt": NaN}', "holds NaN"),
        ((assets.DATA / "receipts/prediction.json").read_text(), "none of capstone 1"),
        ((assets.DATA / "receipts/contestants.json").read_text(), "expected"),
    ],
    ids=["half", "empty", "list", "object", "deep", "nan", "another receipt", "no receipt"],
)
def test_what_is_no_entry_is_refused_with_the_reason(text, shown, board, honest):
    found = board(text, honest)
    [(file, why)] = found.refused
    assert file == "0.json" and re.search(shown, why)
    assert names(found) == ["a"], "one broken file does not stop the others"


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    assert len(leaderboard.sort([tmp_path / "x.json", tmp_path / "gone.json"]).refused) == 2


def test_an_unknown_energy_is_refused(board, honest):
    [(_, why)] = board(unknown(copy.deepcopy(honest))).refused
    assert "unknown, which is not 0" in why and "too short to tell" in why


def places(value, path=()):
    """Every place in a receipt's raw samples and settings."""
    yield path
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    )
    for name, inner in items:
        yield from places(inner, (*path, name))


@pytest.mark.parametrize(
    "value",
    [None, "x", -1, 0, [], {}, float("nan"), float("inf"), True, 10**400],
    ids=lambda value: str(value)[:9],
)
def test_nonsense_anywhere_stops_nothing(value, honest, tmp_path):
    survivors = []
    for path in places({name: honest[name] for name in ("settings", "figures", "hardware", "versions")}):
        broken = edit(honest, *path, to=lambda _: value, again=False) if path else value
        (tmp_path / "0.json").write_text(json.dumps(broken))
        found = leaderboard.sort([tmp_path / "0.json"])
        assert len(found.flagged) + len(found.refused) + len(names(found)) == 1, path
        survivors += [entry for group in found.groups.values() for entry in group]
    leaderboard.page(leaderboard.Board({("any", "any"): survivors} if survivors else {}, [], [], []))


def test_half_a_training_is_refused(board, honest):
    [(_, why)] = board(edit(honest, *TRAIN, "work", "calls", to=0.5)).refused
    assert "figures.train.raw.work.calls: 0.5 is not of type 'integer'" in why


def test_the_schema_is_one_and_says_what_the_code_says():
    import jsonschema

    schema = json.loads(submission.SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    settings = schema["properties"]["settings"]["properties"]
    assert settings["task"]["const"] == submission.TASK
    assert settings["name"]["maxLength"] == submission.MAX_NAME
    assert settings["answers"]["pattern"] == f"^[01]{{{submission.HIDDEN_ROWS}}}$"


def test_only_one_kind_of_hardware_is_ranked_together(board):
    found = board(make("a"), make("b", cpu="a faster CPU"), make("c"), make("d", cpu_w=65.0))
    assert sorted(map(sorted, ([e.name for e in group] for group in found.groups.values()))) == [
        ["a", "c"],
        ["b"],
        ["d"],
    ]


def test_another_task_is_another_group(board):
    assert len(board(make(), make(target=0.85), make(budget_wh=2.0)).groups) == 3


def test_the_least_energy_at_the_target_comes_first_and_a_miss_has_no_rank(board):
    [group] = board(
        make("thirsty", train_s=60.0),
        make("coin", train_s=2.0, right=500),
        make("frugal", train_s=20.0),
        make("over", train_s=300.0),
        make("beside others", train_s=5.0, foreign=0.3),
        make("brief", train_s=6.0, window_s=2.0),
    ).groups.values()
    assert dict(zip([entry.name for entry in group], leaderboard.marks(group), strict=True)) == {
        "frugal": "1",
        "thirsty": "2",
        "coin": "a",
        "beside others": "b",
        "brief": "c",
        "over": "d",
    }
    said = {entry.name: "; ".join(leaderboard.remarks(entry)) for entry in group}
    assert said["frugal"] == "" and said["coin"] == "missed the target" and said["over"] == "over the budget"
    assert "no rank: other programs used the machine: 30% while training, 30% while" in said["beside others"]
    assert "looked at for 2.0 s, 10 s are asked" in said["brief"]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path, honest):
    for person, text in (("ann", json.dumps(honest)), ("bob", "not JSON"), ("cem", "")):
        (tmp_path / person).mkdir()
        (tmp_path / person / "mine.json").write_text(text)
    found = leaderboard.sort(leaderboard.find([str(tmp_path / "*/mine.json")]))
    assert [file for file, _ in found.refused] == ["bob/mine.json", "cem/mine.json"]


def test_a_folder_among_the_files_is_passed_over(tmp_path, honest):
    (tmp_path / "a.json").write_text(json.dumps(honest))
    (tmp_path / "sub").mkdir()
    assert leaderboard.find([str(tmp_path / "a.json"), str(tmp_path / "sub")]) == [tmp_path / "a.json"]
    for folders in ([tmp_path / "sub"], [tmp_path, tmp_path / "sub"]):
        with pytest.raises(submission.CapstoneError, match=r"no file .*sub: expected receipts"):
            leaderboard.find([str(folder) for folder in folders])


def test_hundreds_of_entries_have_marks(honest):
    group = [submission.read(make(right=500))] * 750
    assert len(leaderboard.marks(group)) == 750


def test_the_front_holds_whom_no_one_beats():
    draw = random.Random(0)
    group = [
        submission.read(make(str(place), train_s=draw.randint(1, 6) * 10.0, right=draw.randint(80, 90) * 10))
        for place in range(25)
    ]
    expected = [
        one
        for one in group
        if not any(
            (other.job_wh <= one.job_wh and other.accuracy > one.accuracy)
            or (other.job_wh < one.job_wh and other.accuracy >= one.accuracy)
            for other in group
        )
    ]
    assert submission.front(group) == sorted(expected, key=lambda entry: entry.job_wh)
    assert submission.front([]) == []


def test_where_an_entry_landed():
    frugal, thirsty = (
        submission.read(make(*each)) for each in (("frugal", 20.0, 850), ("thirsty", 60.0, 840))
    )
    best, elsewhere = (
        submission.read(make("best", 90.0, 900)),
        submission.read(make("elsewhere", 1.0, cpu="other")),
    )
    others = [frugal, best, elsewhere]
    assert submission.landing(thirsty, others).startswith(
        "Behind the Pareto front of 2 other entries on this hardware: frugal has 85.0%"
    )
    assert submission.landing(frugal, [*others, thirsty]).startswith(
        "On the Pareto front, beside 2 other entries"
    )
    assert submission.landing(frugal, [frugal]).startswith("No other entry on this hardware")
    assert "with yours they don't compare" in submission.landing(frugal)


def test_recorded_trainings_compare_on_their_own_hardware():
    """The runs of “Fine-tune a BERT”, if they were recorded as this receipt was."""
    recorded = json.loads(submission.RECORDED.read_text())
    cores, cpu = re.fullmatch(r"(\d+) cores of (.+)", recorded["hardware"]).groups()
    receipt = make(train_s=400.0, right=700, cpu=cpu)
    receipt["hardware"]["cores"] = int(cores)
    receipt["versions"]["codecarbon"] = recorded["versions"]["codecarbon"]
    text = submission.landing(submission.read(sealed(receipt)))
    assert re.search(
        r"Of “Fine-tune a BERT”'s recorded trainings, TF-IDF on [\d,]+ sentences is as good", text
    )
    receipt["figures"]["predict"]["raw"]["right"] = 999
    assert "is as accurate for as little" in submission.landing(submission.read(sealed(receipt)))


class Page(html.parser.HTMLParser):
    """The page as a browser reads it."""

    void = ("meta", "img", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.images, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_takes_nothing_from_outside(board, honest):
    text = leaderboard.page(board(honest, make("b", right=850), "{", edit(honest, *PREDICT, "right", to=0)))
    page = Page(text)
    assert page.open == []
    assert {"Flagged", "Refused"} <= set(re.findall(r"<h2>(.*?)</h2>", text))
    [image] = page.images
    assert image["src"].startswith("data:image/png;base64,")
    assert "1 a: 90.0% for" in image["alt"] and "2 b: 85.0% for" in image["alt"]
    assert not re.search(
        r"https?:|//|\bsrc=\"(?!data:)", text.replace(image["src"], "data:").split("</style>")[1]
    )
    assert "default-src 'none'" in text
    assert "assumed (" in page.text, "an energy has its method and its range"


def test_what_a_learner_writes_runs_nowhere(board):
    evil = [make(EVIL), make('" onload="x'), make("$\\frac{"), make("a\u202eb\x00c")]
    evil.append(make("&amp;", cpu=EVIL * 50))
    evil.append(edit(make(EVIL), *PREDICT, "right", to=0))
    evil.append('{"receipt": "' + EVIL + '"}')
    page = Page(leaderboard.page(board(*evil)))
    assert not {"script", "iframe"} & set(page.tags)
    assert EVIL in page.text and "&amp;" in page.text and "abc" in page.text
    assert all(set(image) == {"src", "alt"} for image in page.images)


def test_a_name_beyond_all_bounds_is_refused(board, honest):
    found = board(edit(honest, "settings", "name", to="x" * 100_000))
    assert "settings.name" in found.refused[0][1] and len(found.refused[0][1]) < 300


def test_the_command_writes_a_page_and_says_what_it_found(tmp_path, capsys, monkeypatch, honest):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "receipts").mkdir()
    for place, receipt in enumerate((honest, make("b"))):
        receipts.save(receipt, tmp_path / "receipts" / f"{place}.json")
    (tmp_path / "receipts" / "bad.json").write_text("{")
    assert main(["leaderboard", "receipts/*.json", "receipts/0.json"]) == 0
    out = capsys.readouterr().out
    assert "2 entries in 1 group, 0 flagged, 1 refused" in out and "refused  bad.json: " in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leaderboard.html", "receipts"]
    assert Page((tmp_path / "leaderboard.html").read_text(encoding="utf-8")).open == []


@pytest.mark.parametrize(
    ("arguments", "status", "shown"),
    [
        (["receipts/*.json"], 2, r"There is no file receipts/\*\.json: expected receipts"),
        (["here.json", "gone.json"], 2, "There is no file gone.json"),
        (["."], 2, r"There is no file \."),
        (["here.json", "--output", "here.json"], 2, "ends in .html"),
        (["here.json", "--output", "gone/x.html"], 1, "gone"),
    ],
)
def test_the_command_says_what_is_missing(arguments, status, shown, tmp_path, capsys, monkeypatch, honest):
    monkeypatch.chdir(tmp_path)
    receipts.save(honest, tmp_path / "here.json")
    before = (tmp_path / "here.json").read_bytes()
    assert main(["leaderboard", *arguments]) == status
    assert re.search(shown, capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["here.json"]
    assert (tmp_path / "here.json").read_bytes() == before


def test_the_command_without_files_is_an_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["leaderboard"])
    assert ended.value.code == 2 and "receipt" in capsys.readouterr().err


def test_a_page_that_fails_leaves_the_old_one(tmp_path, monkeypatch, honest):
    path, output = receipts.save(honest, tmp_path / "a.json"), tmp_path / "board.html"
    output.write_text("the old one")

    def fail(board):
        raise KeyboardInterrupt

    monkeypatch.setattr(leaderboard, "page", fail)
    with pytest.raises(KeyboardInterrupt):
        leaderboard.leaderboard([str(path)], output)
    assert output.read_text() == "the old one"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.json", "board.html"]
