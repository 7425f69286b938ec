"""Run a notebook with many sets of parameters, some at a time, with one receipt each.

python cluster/grid.py --folder artifacts/grid                                          # on this machine
python cluster/grid.py --folder /shared/grid --scheduler tcp://head:8786                # on a Dask cluster
"""

import argparse
import itertools
import subprocess
import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # finds `helpers` from any folder

from cluster import worker
from helpers import machine
from helpers.assets import ROOT

GRID = {"strength": [1.0, 10.0], "longest": [1, 2]}  # four settings of one_setting.ipynb


def run_one(setting: dict[str, float], folder: Path, country: str, rows: int) -> str:
    """Execute the notebook with one setting, in a process of its own; return the receipt's path."""
    name = "-".join(f"{key}-{value}" for key, value in setting.items())
    receipt = folder / f"{name}.json"
    parameters = setting | {"receipt": receipt, "COUNTRY": country, "train_rows": rows}
    command = [sys.executable, "-m", "papermill", ROOT / "cluster" / "one_setting.ipynb"]
    command += [folder / f"{name}.ipynb", "--cwd", ROOT / "cluster", "--no-progress-bar"]
    command += [part for key, value in parameters.items() for part in ("-p", key, value)]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2_000:]}")
    return str(receipt)


def pool(scheduler: str | None, workers: int) -> Executor:
    """Return threads of this machine, each of which waits for a process; or the workers of a Dask cluster."""
    if scheduler is None:
        return ThreadPoolExecutor(workers)
    try:
        from dask.distributed import Client
    except ModuleNotFoundError:
        sys.exit("--scheduler needs Dask: pip install -e '.[cluster]' on every machine of the cluster.")
    return Client(scheduler).get_executor()


def main() -> None:
    """Run the grid and print each receipt as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, required=True, help="for copies and receipts; on a shared disk"
    )
    parser.add_argument("--workers", type=int, default=2, help="settings at a time on this machine")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, instead of this machine alone")
    parser.add_argument("--country", default="USA", help="ISO 3166 code")
    parser.add_argument("--rows", type=int, default=7_070, help="sentences to train on")
    machine.escape_unprintable()
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with pool(chosen.scheduler, chosen.workers) as executor:
        settings = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
        given = folder, chosen.country, chosen.rows
        for each in [executor.submit(run_one, setting, *given) for setting in settings]:
            print(each.result(), flush=True)


if __name__ == "__main__":
    worker.end_with_owner()
    main()
