"""Tables that people bring: a CSV file is read whole, separator and encoding recognized, or refused."""

import csv
import io
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
SAVE = 'save it as "CSV UTF-8" in a spreadsheet program'
MARKUP = (b"<!", b"<html", b"<?xml", b"<table")
NO_CSV = (  # what a file begins with, in small letters; what else is in it; what it is then; what to do
    (b"pk\3\4", b"xl/workbook", "an Excel workbook", SAVE),
    (b"pk\3\4", b"opendocument.spreadsheet", "an OpenDocument spreadsheet", SAVE),
    (b"pk\3\4", b"", "a zip archive", "unpack it, and take the CSV file in it"),
    (b"\x1f\x8b", b"", "a gzip archive", "unpack it, and take the CSV file in it"),
    (b"\xd0\xcf\x11\xe0", b"", "an old or encrypted Excel workbook", SAVE),
    (b"%pdf", b"", "a PDF file", f"copy its table elsewhere, and {SAVE}"),
    (MARKUP, b"", "a web page or XML", f"download the table itself, or {SAVE}"),
)


class Table(NamedTuple):
    """A table as its file has it, each value as text."""

    columns: dict[str, tuple[str, ...]]  # each name, without spaces around it, and its values
    lines: tuple[int, ...]  # of the file, from 1, in which each row begins
    notes: list[str]  # what was recognized or left out, for people to read


def read_table(path: str | Path, error: type[ValueError] = ValueError) -> Table:
    r"""Read a CSV file: comma, semicolon, tab or pipe; UTF-8, UTF-16 or Windows-1252; column names first.

    Rows without any value are left out. A column without a name is named after its place: "column 3". It is
    an `error` if there is no such file, it is no CSV file or damaged, or a row has more or fewer values than
    there are columns. The message says in which line, what was found, and what to do.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "power.csv")
    ...     _ = path.write_text('time;W;note\n0;31,5;"on\nbattery"\n1;29;\n')
    ...     table = read_table(path)
    >>> table.columns["W"], table.lines
    (('31,5', '29'), (2, 4))
    >>> table.notes
    ['separator semicolon', '1 row over several lines (line 2)']
    """
    path = Path(path)
    if not path.is_file():
        raise error(f"There is no file {path}: expected a CSV file.")
    try:
        return _table(*_decode(path.read_bytes()))
    except OSError as why:
        raise error(f"{path.name} cannot be read ({why.strerror}): close it in other programs.") from why
    except ValueError as reason:
        raise error(f"{path.name} {reason}") from reason


def shown(text: str) -> str:
    """What was found, in quotes, for an error: no more of it than fits a line."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def listed(names: Iterable[str]) -> str:
    """Columns' names for an error: no more of them than fit a line."""
    return textwrap.shorten(", ".join(names), 100, placeholder=" ...")


def _table(text: str, notes: list[str]) -> Table:
    text = re.sub(r"\Asep=.(?=[\r\n])", "", text, flags=re.IGNORECASE)  # it tells Excel the separator
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # it is 131,072 characters at first
    separator = max(SEPARATORS, key=lambda each: _fit(text, each))
    rows = [(line, row) for line, row in _rows(text, separator) if row]
    full = [(line, row) for line, row in rows if "".join(row).strip()]
    if not full:
        raise ValueError("is empty: expected a line with the columns' names, and rows below it.")
    (top, head), *full = full
    names = [name.strip() or f"column {place}" for place, name in enumerate(head, start=1)]
    small = [name.lower() for name in names]
    if twice := [name for name in names if small.count(name.lower()) > 1]:
        raise ValueError(f"has two columns {shown(twice[0])} in line {top}: rename one.")
    if not full:
        raise ValueError(f"has the columns {listed(names)}, and no row: write some below line {top}.")
    for line, row in full:
        if len(row) != len(names):
            raise ValueError(
                f"has {_count(len(row), 'value')} in line {line} for {len(names)} columns: {listed(names)}. "
                f"A {SEPARATORS[separator]} begins a new value: put a text that holds one, or a line break, "
                'in double quotes, "like this", with no space outside of them.'
            )
    notes += [f"separator {SEPARATORS[separator]}"] if separator != "," else []
    if long := [line for line, row in full if re.search(r"[\r\n]", "".join(row))]:
        notes.append(f"{_count(len(long), 'row')} over several lines (line {long[0]})")
    if empty := len(rows) - len(full) - 1:
        notes.append(f"{_count(empty, 'row')} without any value left out")
    lines, values = zip(*full, strict=True)
    return Table(dict(zip(names, zip(*values, strict=True), strict=True)), lines, notes)


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line in which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for row in reader:
            yield line, row
            line = reader.line_num + 1
    except csv.Error as reason:
        raise ValueError(
            f"has a quote that opens in line {line} and is not closed rightly up to line "
            f'{reader.line_num}: close it, and write a quote within a text twice, "so ""good"" a film".'
        ) from reason


def _fit(text: str, separator: str) -> tuple[bool, int, int, bool]:
    """How well a separator fits: columns, in the first rows as well, many, by no decimal comma."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    widths = [len(row) for row in itertools.islice(reader, 20) if "".join(row).strip()] or [0]
    columns = widths[0] > 1
    return columns, widths.count(widths[0]), widths[0], columns and separator != ","


def _decode(raw: bytes) -> tuple[str, list[str]]:
    """A file's text, and what there is to say about its encoding."""
    for start, part, what, remedy in NO_CSV:
        if raw[:100].removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(start) and part in raw:
            raise ValueError(f"is {what}, not a CSV file: {remedy}.")
    encoding = _encoding(raw)
    name = encoding.rstrip("BLE")  # people need not know the order of bytes
    try:
        text = raw.decode(encoding).lstrip("\ufeff")  # the byte order mark
    except UnicodeDecodeError as reason:
        line = _line(raw[: reason.start].decode(encoding))
        raise ValueError(f"has a character in line {line} that is not {name}: {SAVE}.") from reason
    if "\0" in text:
        line = _line(text[: text.index("\0")])
        raise ValueError(f"has a NUL byte in line {line}: it is damaged, or no text. Open it, and {SAVE}.")
    if name == "Windows-1252" and (word := re.search(r"\w{,10}[^\x00-\x7f]\w{,9}", text)):
        # Any byte is some letter there: only a word shows whether it is the right one.
        name += f" ({word[0]!r} in line {_line(text[: word.start()])})"
    return text, [f"encoding {name}"] if name != "UTF-8" else []


def _encoding(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):  # its byte order marks
        return "UTF-16"
    if len(raw) > 3 and not (any(raw[:8:2]) and any(raw[1:8:2])):  # half of each Latin letter is 0
        return "UTF-16LE" if raw[0] else "UTF-16BE"
    text = raw.decode(errors="replace")
    unknown = text.count("\ufffd") - raw.count("\ufffd".encode())  # it may stand there as a sign, too
    all_but_ascii = len(text) - len(text.encode("ascii", "ignore"))
    return "UTF-8" if unknown <= all_but_ascii / 2 else "Windows-1252"  # a few: it is UTF-8 that was damaged


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _line(before: str) -> int:
    """The line in which this ends."""
    return len(f"{before}.".encode().splitlines())  # of bytes: a text splits at more than line ends
