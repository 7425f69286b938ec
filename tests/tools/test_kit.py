"""A kit is complete for what it names, and sets a course up where there is no network."""

import json
import platform
import shutil
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from importlib.metadata import distribution
from pathlib import Path

import pytest

import start
from tools import RunError, kit

NEEDS = {  # whether a kit for Windows and Python 3.12 that has `one` has this
    "one": True,
    "absent": False,
    "absent; sys_platform == 'linux'": True,
    "absent; os_name == 'nt' and python_version >= '3.12'": False,
    "absent; extra == 'more'": True,
}


def wheel(folder, name, needs="", files=()):
    version = "1.0" if not files else distribution(name).version
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        archive.writestr(f"{name}-{version}.dist-info/METADATA", about)
        for file in files:
            if file.name != "METADATA" and ".." not in file.parts and file.suffix != ".pyc":
                archive.write(file.locate(), str(file))


@pytest.mark.parametrize(("needs", "complete"), NEEDS.items())
def test_a_target_s_wheels_need_nothing_beside_them(tmp_path, monkeypatch, needs, complete):
    def pip(command, **_):
        fresh = Path(command[command.index("--dest") + 1])
        wheel(fresh, "one"), wheel(fresh, "other", f"Requires-Dist: {needs}")
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(subprocess, "run", pip)
    with nullcontext() if complete else pytest.raises(RunError, match="needs absent, which requirements"):
        assert len(kit.add_wheels("windows-amd64-3.12", tmp_path)) == 2
    assert len([*tmp_path.iterdir()]) == 2 * complete


def test_what_breaks_off_or_isn_t_known_is_no_kit(tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"no plan9-mips-3.11; the kit can have: linux-x86_64-3.11"):
        kit.build(["plan9-mips-3.11"], tmp_path)
    (tmp_path / "kit.json").write_text("{}")  # an older one
    monkeypatch.setattr(kit, "add_wheels", lambda *_: (_ for _ in ()).throw(RunError("no network")))
    with pytest.raises(RunError, match="no target is complete"):
        kit.build([], tmp_path)
    assert not (tmp_path / "kit.json").exists()


def test_a_course_is_set_up_from_a_kit_without_a_network_if_it_is_one_and_has_this_platform(tmp_path):
    course, stick = tmp_path / "course", tmp_path / "kit"
    for folder in (course / "helpers", stick / "wheels", stick / "models" / start.EMBEDDED.name):
        folder.mkdir(parents=True)
    shutil.copy(start.__file__, course)
    (course / "helpers" / "__main__.py").write_text("import socket, sys; print('fetch' in sys.argv)")
    (course / "pyproject.toml").write_text('[project]\nname = "helpers"\nversion = "1"')
    (course / "requirements.txt").write_text(f"setuptools=={distribution('setuptools').version}\n")
    wheel(stick / "wheels", "setuptools", files=distribution("setuptools").files)
    command = [sys._base_executable, "start.py", "setup", "--kit", stick]
    for targets, said in {"{}": "There is no kit in ", '{"targets": ["plan9"]}': "It has: plan9."}.items():
        (stick / "kit.json").write_text(targets)
        assert said in subprocess.run(command, cwd=course, capture_output=True, text=True).stderr
    alone = ["unshare", "--user", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here")
    here = f"{platform.system()}-{platform.machine()}-{sys.version_info[0]}.{sys.version_info[1]}".lower()
    (stick / "kit.json").write_text(json.dumps({"targets": [here]}))
    done = subprocess.run([*alone, *command], cwd=course, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (course / "models" / start.EMBEDDED.name).is_dir() and (course / ".venv/.ready").exists()
