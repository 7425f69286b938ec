"""A folder for a room without a network: `python -m tools kit`; teaching/kit.md says how it is used."""

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.metadata import PathDistribution
from io import BytesIO
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from helpers import assets
from start import CPU_BUILDS
from tools import RunError, site
from tools.notebooks import ROOT

GLIBC = range(5, 29)  # manylinux_2_28: Debian 12, Ubuntu 20.04 and all that is newer
SYSTEMS = {  # system and machine, as Python calls them in small letters: what markers say, and wheels' tags
    "linux-x86_64": ("Linux", "linux", "posix", *(f"manylinux_2_{minor}_x86_64" for minor in GLIBC)),
    "linux-aarch64": ("Linux", "linux", "posix", *(f"manylinux_2_{minor}_aarch64" for minor in GLIBC)),
    "darwin-arm64": ("Darwin", "darwin", "posix", "macosx_14_0_arm64", "macosx_14_0_universal2"),
    "windows-amd64": ("Windows", "win32", "nt", "win_amd64"),
}
TARGETS = tuple(f"{system}-{python}" for system in SYSTEMS for python in ("3.11", "3.12", "3.13"))


def build(targets: list[str], output: Path = ROOT / "build" / "kit") -> int:
    """Write the kit, its wheels as far as they aren't there; return 1 if a target had to be left out."""
    if unknown := sorted({*targets} - {*TARGETS}):
        raise RunError(f"there is no {', '.join(unknown)}; the kit can have: {', '.join(TARGETS)}")
    (output / "kit.json").unlink(missing_ok=True)  # what is being written is no kit
    (output / "wheels").mkdir(parents=True, exist_ok=True)
    wanted, complete = set(), []
    for target in targets or TARGETS:
        try:
            wanted |= add_wheels(target, output / "wheels")
            complete.append(target)
        except RunError as error:
            print(f"{target} is left out: {error}", file=sys.stderr, flush=True)
    if not complete:
        raise RunError("no target is complete, so there is no kit; the reasons stand above")
    for path in (output / "wheels").iterdir():
        if path.name not in wanted:
            path.unlink()
    for folder in ("watt-it-takes", "models", "site"):
        shutil.rmtree(output / folder, ignore_errors=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE)
    if archive.returncode:
        raise RunError("the kit has the course as it is committed; git says above why it can't give that")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as course:
        course.extractall(output / "watt-it-takes", filter="data")
    for model in assets.COURSE_MODELS:
        shutil.copytree(assets.fetch_model(model), output / "models" / model.name)
    site.build()
    shutil.copytree(ROOT / "build" / "site", output / "site")
    shutil.copyfile(ROOT / "teaching" / "kit.md", output / "README.md")
    files = sorted(path for path in output.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    sums = [f"{assets.sha256(path)}  {path.relative_to(output).as_posix()}\n" for path in files]
    (output / "SHA256SUMS").write_text("".join(sums), encoding="utf-8", newline="\n")
    (output / "kit.json").write_text(json.dumps({"targets": complete}, indent=1), encoding="utf-8")
    print(f"{output}: {sum(path.stat().st_size for path in files) / 1e9:.1f} GB for {', '.join(complete)}")
    return int(len(complete) < len(targets or TARGETS))


def add_wheels(target: str, folder: Path) -> set[str]:
    """Download what a target lacks; return the names of its wheels, which need no package beside them."""
    system, _, python = target.rpartition("-")
    kind, name, os_name, *tags = SYSTEMS[system]
    environment = {"platform_system": kind, "sys_platform": name, "os_name": os_name, "extra": ""}
    environment |= {"python_version": python, "python_full_version": f"{python}.9"}
    environment["platform_machine"] = system.partition("-")[2].replace("amd64", "AMD64")

    def applies(requirement: Requirement) -> bool:
        return requirement.marker is None or requirement.marker.evaluate(environment)

    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [pin for pin in map(Requirement, (line for line in lines if line[0] != "#")) if applies(pin)]
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--find-links", str(folder), "--dest", fresh, "--python-version", python]
        command += [word for tag in tags for word in ("--platform", tag)]
        wanted = {pin.name: f"{pin.name}{pin.specifier}" for pin in pins}
        if kind == "Linux":  # PyTorch's usual build brings gigabytes for a GPU
            cpu_build = ["--index-url", CPU_BUILDS, "--retries", "1", wanted["torch"]]
            subprocess.run([*command, *cpu_build], stderr=subprocess.DEVNULL)
        command += ["--find-links", fresh, *wanted.values()]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RunError((done.stderr.strip().splitlines() or ["pip says nothing"])[-1])
        wheels = list(Path(fresh).glob("*.whl"))
        have = {parse_wheel_filename(wheel.name)[0] for wheel in wheels}
        for wheel in wheels:
            [about] = [path for path in zipfile.Path(wheel).iterdir() if path.name.endswith(".dist-info")]
            for needed in map(Requirement, PathDistribution(about).requires or []):
                if applies(needed) and canonicalize_name(needed.name) not in have:
                    raise RunError(f"{wheel.name} needs {needed.name}, which requirements.txt doesn't pin")
        for wheel in wheels:
            wheel.replace(folder / wheel.name)
        return {wheel.name for wheel in wheels}
