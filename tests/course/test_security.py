"""No pickle is loaded, and no text runs in a shell or on a page."""

import ast

from helpers import energy, values
from tests import shared
from tools import notebooks
from tools.notebooks import ROOT

HOUSES = (*shared.HOUSES, "extras", "data", "docs")
PICKLES = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
SHELLS |= {"yaml.load", "torch.hub.load"}  # which run what they load
# Of what the last one registers, Accelerate loads a pickle.
LOADERS = {"read_pickle", "read_hdf", "unsafe_load", "register_for_checkpointing"}
SAFE = {"weights_only": "True", "allow_pickle": "False", "shell": "False", "escape": "True"}
SAFE |= {"trust_remote_code": "False", "safe_serialization": "True"}
NOTEBOOKS = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("cluster/*.ipynb"), *ROOT.glob("extras/*/*.ipynb")]
EVIL = "<script>alert(1)</script>"


def faults(code):
    """Yield what loads a pickle, starts a shell, runs a stranger's code or leaves a page unescaped."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            source = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = [source + each.name for each in node.names]
            yield from (name for name in names if name.split(".")[0] in PICKLES or name in SHELLS)
        elif isinstance(node, ast.List):
            program, *words = [ast.unparse(each).strip("'") for each in node.elts] or [""]
            if program.split("/")[-1] in {"sh", "bash"} and "-c" in words:
                yield program
        elif isinstance(node, ast.Call):
            function, words = ast.unparse(node.func), [ast.unparse(each).strip("'") for each in node.args]
            imported = words[0].split(".")[0] if words and "import" in function else ""
            if function in SHELLS or {function.split(".")[-1], imported} & (LOADERS | PICKLES):
                yield function
            given = {each.arg: ast.unparse(each.value) for each in node.keywords}
            given |= {"allow_pickle": words[2]} if function == "np.load" and words[2:] else {}
            yield from (f"{function}: {name}" for name in given.keys() & SAFE if given[name] != SAFE[name])


def test_each_fault_is_seen():
    bad = "import pickle; from joblib import load; os.system(name); subprocess.run(f'ls {name}', shell=True)"
    bad += "; torch.load(path, weights_only=False); np.load(path, allow_pickle=allowed)"
    bad += "; AutoModel.from_pretrained(name, trust_remote_code=True); table.to_html(escape=False)"
    bad += "; np.load(path, None, True); from os import system; pandas.read_pickle(path)"
    bad += "; import_module('pickle.x'); run(['/bin/bash', '-c', name]); torch.hub.load(name, 'model')"
    for code in bad.split("; "):
        assert len(list(faults(code))) == 1, code


def test_no_pickle_is_loaded_and_no_text_runs_in_a_shell():
    files = [path for house in HOUSES for path in (ROOT / house).rglob("*.py") if ".venv" not in path.parts]
    assert len(files) > 60 and len(NOTEBOOKS) > 11
    found = {path: list(faults(shared.code(path))) for path in [ROOT / "start.py", *files, *NOTEBOOKS]}
    assert {path: some for path, some in found.items() if some} == {}


def test_no_variable_is_written_into_a_command_of_a_notebook():
    """IPython fills {this} and $this in, before the shell reads the line."""
    sources = [cell.source for path in NOTEBOOKS for cell in notebooks.read(path).cells if "outputs" in cell]
    lines = [line.strip() for source in sources for line in source.splitlines()]
    commands = [line for line in lines if line.startswith(("!", "%"))]
    assert any(line.startswith("![ -d watt-it-takes ]") for line in commands)
    assert [line for line in commands if "{" in line or "$" in line] == []


def test_no_text_is_code_in_a_table():
    part = energy.Component(EVIL, 1.0, "modelled", EVIL, 65.0)
    run = energy.Measurement(EVIL, 1.0, 1.0, (part,), EVIL, 369.0, "", 0.0, work={EVIL: 3}, notes=(EVIL,))
    comparison = energy.compare({EVIL: [run] * 5, "b": [run] * 5})
    for shown in (run._repr_html_(), comparison._repr_html_(), values.html_table([EVIL], [[EVIL]])):
        assert "&lt;script&gt;" in shown and "<script" not in shown
