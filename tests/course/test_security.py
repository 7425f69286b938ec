"""No pickle is loaded, no text runs in a shell or on a page, and a workflow may do what it must, no more."""

import ast
import json
import re

import pytest
import yaml

from helpers import energy
from helpers.energy import display
from tools.notebooks import ROOT

HOUSES = ("helpers", "exercises", "capstone", "tools", "cluster", "benchmarks", "extras", "data", "docs")
PICKLES = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
LOADERS = {
    "read_pickle",
    "unsafe_load",
    "register_for_checkpointing",
}  # of the last, Accelerate loads a pickle
SAFE = {"weights_only": "True", "allow_pickle": "False", "shell": "False", "escape": "True"}
SAFE |= {"trust_remote_code": "False", "safe_serialization": "True"}
NOTEBOOKS = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("cluster/*.ipynb"), *ROOT.glob("extras/*/*.ipynb")]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
EVIL = "<script>alert(1)</script>"


def faults(code):
    """Yield what loads a pickle, starts a shell, runs a stranger's code or leaves a page unescaped."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            yield from (name for name in names if name.split(".")[0] in PICKLES)
        elif isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            if function in SHELLS or function.split(".")[-1] in LOADERS or function == "yaml.load":
                yield function
            given = {each.arg: ast.unparse(each.value) for each in node.keywords}
            yield from (f"{function}: {name}" for name in given.keys() & SAFE if given[name] != SAFE[name])


def cells():
    """Yield each code cell as its name, its Python and its other lines."""
    for path in NOTEBOOKS:
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            if cell["cell_type"] == "code":
                lines = "".join(cell["source"]).splitlines()
                other = [line.strip() for line in lines if line.strip().startswith(("!", "%"))]
                kept = [re.sub(r"^(\s*)[!%].*", r"\1pass", line) for line in lines]
                yield f"{path.name}, cell {number}", "\n".join(kept), other


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=allowed)",
        "pandas.read_pickle(path)",
        "accelerator.register_for_checkpointing(history)",
        "subprocess.run(f'ls {name}', shell=True)",
        "os.system(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "table.to_html(escape=False)",
    ],
)
def test_each_fault_is_seen(code):
    assert len(list(faults(code))) == 1
    assert (
        list(faults("torch.load(path, weights_only=True); np.load(path); subprocess.run(['ls', name])")) == []
    )


def test_no_pickle_is_loaded_and_no_text_runs_in_a_shell():
    files = [path for house in HOUSES for path in (ROOT / house).rglob("*.py") if ".venv" not in path.parts]
    assert len(files) > 60 and len(NOTEBOOKS) > 11
    code = [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in files]
    code += [(where, python) for where, python, _ in cells()]
    assert [(where, fault) for where, text in code for fault in faults(text)] == []


def test_no_variable_is_written_into_a_command_of_a_notebook():
    """IPython fills {this} and $this in, before the shell reads the line."""
    commands = {line for _, _, lines in cells() for line in lines}
    assert any(line.startswith("![ -d watt-it-takes ]") for line in commands)
    assert [line for line in commands if "{" in line or "$" in line] == []


def test_no_text_is_code_in_a_table():
    part = energy.Component(EVIL, 1.0, "modelled", EVIL, 65.0)
    run = energy.Measurement(EVIL, 1.0, 1.0, (part,), EVIL, 369.0, "", 0.0, work={EVIL: 3}, notes=(EVIL,))
    both, each = (EVIL, "b"), {EVIL: (1.0, 1.0), "b": (2.0, 2.0)}
    found = (both, {}, {EVIL: 1.0, "b": 2.0}, each, (0.5,), 0.5, (0.5, 0.5), EVIL, EVIL, (1,), EVIL)
    comparison = energy.Comparison(*found)
    for shown in (run._repr_html_(), comparison._repr_html_(), display.html_table([EVIL], [[EVIL]])):
        assert "&lt;script&gt;" in shown and "<script" not in shown


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_what_it_must_and_no_more(path):
    """Its own permissions, and that its actions are pinned, are tests/tools/test_setup.py's."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(workflow[True])  # `on`
    for name, job in workflow["jobs"].items():
        assert job.get("permissions", {}) == ({"contents": "write"} if name == "release" else {})
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "text from elsewhere would be part of the command"
            assert "checkout" not in step.get("uses", "") or step["with"]["persist-credentials"] is False


def test_the_pins_are_audited_each_week_and_the_course_does_not_hold_the_auditor():
    weekly = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text(encoding="utf-8"))
    runs = [step.get("run", "") for job in weekly["jobs"].values() for step in job["steps"]]
    assert weekly[True]["schedule"] and any("-m tests.environments" in run for run in runs)
    for path in ("requirements-test.txt", "extras/tensorflow/requirements.txt"):
        assert any("pip_audit" in run and path in run for run in runs), "it has -r requirements.txt in it"
    for path in [*ROOT.glob("requirements*.txt"), ROOT / "pyproject.toml", ROOT / "environment.yml"]:
        assert "pip-audit" not in path.read_text(encoding="utf-8").replace("_", "-")
