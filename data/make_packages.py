"""Makes other/packages_en.csv and packages_de.csv on Debian 12, from three lists of its archive (17 MB)."""

import re
import subprocess
import tempfile
from functools import reduce
from pathlib import Path

import pandas as pd

LABELS = dict.fromkeys(("admin", "database", "httpd", "mail", "net"), 0)
LABELS |= dict.fromkeys(("games", "graphics", "sound", "video"), 1)


def read_list(path: Path) -> pd.DataFrame:
    """One row an entry: its fields, each to the end of its first line."""
    text = subprocess.check_output(["/usr/lib/apt/apt-helper", "cat-file", path], encoding="utf-8")
    entries = (dict(re.findall("^([^ :]+): (.+)", part, re.MULTILINE)) for part in text.split("\n\n"))
    return pd.DataFrame(filter(None, entries))


with tempfile.TemporaryDirectory() as lists:
    options = (f"Dir::State::lists={lists}", "Acquire::Languages=en,de", "APT::Architecture=amd64")
    subprocess.check_call(["apt-get", "update", "-qq", *(f"-o{option}" for option in options)])
    paths = sorted(Path(lists).glob("*_bookworm_main_*"))
    if len(paths) != 3:
        raise SystemExit(f"{len(paths)} lists of Debian 12 (bookworm), expected 3: run this on Debian 12.")
    rows = reduce(pd.merge, map(read_list, paths))  # by name and sum: a stale translation has another sum
rows = rows[rows["Section"].isin(LABELS)].assign(label=rows["Section"].map(LABELS))
english, german = (rows[f"Description-{each}"].str.findall(r"\w+").str.join(" ") for each in ("en", "de"))
source = rows["Source"].fillna(rows["Package"]).str.split().str[0]
again = source.duplicated() | english.str.lower().duplicated() | german.str.lower().duplicated()
for each in ("en", "de"):
    names = {"Package": "package", "Section": "section", f"Description-{each}": "text", "label": "label"}
    table = rows[~again & (english != german)].rename(columns=names).astype({"label": int})
    path = Path(__file__).with_name("other") / f"packages_{each}.csv"
    table.to_csv(path, columns=list(names.values()), index=False, lineterminator="\n")
