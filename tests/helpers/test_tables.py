"""A table is read as its file has it, or refused with the line that an editor shows and a way out."""

import gzip
import io
import zipfile
from pathlib import Path
from statistics import StatisticsError as OwnError  # any that is not the room's

import pytest

from helpers.tables import read_table

PLAIN = "time,note,W\n0,café,31\n1,naïve,29\n"
ENCODINGS = {"utf-8": [], "utf-8-sig": [], "cp1252": ["encoding Windows-1252 ('café' in line 2)"]}
ENCODINGS |= {name: ["encoding UTF-16"] for name in ("utf-16", "utf-16-le", "utf-16-be")}


def read(folder, content):
    path = Path(folder, "power.csv")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, OwnError)


def archive(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, "application/vnd.oasis.opendocument.spreadsheet" * (name == "mimetype"))
    return buffer.getvalue()


@pytest.mark.parametrize(("encoding", "notes"), ENCODINGS.items())
@pytest.mark.parametrize(("separator", "name"), zip(",;\t|", (None, "semicolon", "tab", "pipe"), strict=True))
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encoding_separator_and_line_end_are_recognized(tmp_path, encoding, notes, separator, name, end):
    table = read(tmp_path, PLAIN.replace(",", separator).replace("\n", end).encode(encoding))
    assert table.columns == {"time": ("0", "1"), "note": ("café", "naïve"), "W": ("31", "29")}
    assert table.lines == (2, 3) and table.notes == notes + ([f"separator {name}"] if name else [])


def test_the_separator_is_the_one_that_fits_header_and_rows(tmp_path):
    for content, columns in (
        ("time;power, W\n0;31,5\n1;29,0\n", {"time": ("0", "1"), "power, W": ("31,5", "29,0")}),
        ("W, mean;s\n3;0\n4,5;1\n", {"W, mean": ("3", "4,5"), "s": ("0", "1")}),
        ("a,b; c; d\n1,2\n3,4\n", {"a": ("1", "3"), "b; c; d": ("2", "4")}),
        (",a\n0,x\n", {"column 1": ("0",), "a": ("x",)}),
        ("\n  \n A ,b\n1,2\n", {"A": ("1",), "b": ("2",)}),
        ("sep=;\r\na;b\r\n1;2\r\n", {"a": ("1",), "b": ("2",)}),
        ("a,b\n\ufffd,“\ufffd\ufffd”\n", {"a": ("\ufffd",), "b": ("“\ufffd\ufffd”",)}),
    ):
        assert read(tmp_path, content).columns == columns


def test_every_character_and_every_line_is_counted(tmp_path):
    values = ("a\nb", "c\r\n\nd", 'He said ""no"", twice', " e\u2028\x85 ", "x" * 200_000)
    rows = "\n\n".join(f'{n},"{text}"' for n, text in enumerate(values))
    table = read(tmp_path, f"n,text\n{rows}\n,\n")
    assert table.columns["text"] == tuple(text.replace('""', '"') for text in values)
    assert table.columns["n"] == ("0", "1", "2", "3", "4") and table.lines == (2, 5, 9, 11, 13)
    assert table.notes == ["2 rows over several lines (line 2)", "1 row without any value left out"]


def test_what_is_no_table_or_cannot_be_read_is_named_with_its_line_and_a_way_out(tmp_path, monkeypatch):
    for content, message in (
        ("", "is empty: expected a line with the columns' names, and rows below it"),
        ("\ufeff\n \n\n", "is empty"),
        ("time,W\n", "has the columns time, W, and no row: write some below line 1"),
        ('\na,b\n"x\ny",1\nz\n', r"has 1 value in line 5 for 2 columns: a, b\. A comma begins a new value"),
        ("a;b\n1;2;3\n", r"has 3 values in line 2 for 2 columns: a, b\. A semicolon"),
        ('a,b\n"x\ny",1\n"z, 1\nw,2\n', "has a quote that opens in line 4 and is not closed .* up to line 5"),
        ('a,b\n"so" he said,1\n', "has a quote that opens in line 2 .* line 2: close it, and write a quote"),
        ("a,b, A\n1,2,3\n", "has two columns 'a' in line 1: rename one"),
        ("a,b\n1,2\n1,\0\n", "has a NUL byte in line 3: it is damaged"),
        ("a,é\né,é\n".encode() + b"\xe9,1\n", "has a character in line 3 that is not UTF-8: save it as"),
        (b"a,b\n\xe9\x81,1\n", "has a character in line 2 that is not Windows-1252"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "has a character in line 2 that is not UTF-16"),
        (archive("docProps/a.xml", "xl/workbook.xml"), 'is an Excel workbook, .*: save it as "CSV UTF-8" in'),
        (archive("mimetype", "content.xml"), "is an OpenDocument spreadsheet, not a CSV file: save it"),
        (archive("mine.csv"), "is a zip archive, not a CSV file: unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "is an old or encrypted Excel workbook"),
        (b"%PDF-1.7\n%\xe2\xe3", "is a PDF file, not a CSV file: copy its table"),
        ("\n<!DOCTYPE html>\n<p>a,b", "is a web page or XML, not a CSV file: download"),
        ("\ufeff<table><td>a,b", "is a web page or XML"),
        (gzip.compress(b"a,b\n1,2\n"), "is a gzip archive, not a CSV file: unpack it"),
    ):
        with pytest.raises(OwnError, match=rf"power\.csv {message}"):
            read(tmp_path, content)
    with pytest.raises(OwnError, match=r"There is no file .*none\.csv: expected a CSV file"):
        read_table(tmp_path / "none.csv", OwnError)
    monkeypatch.setattr(Path, "read_bytes", lambda path: (path / "below").stat())  # which is no folder
    with pytest.raises(OwnError, match=r"power.csv cannot be read \(Not a directory\): close it"):
        read(tmp_path, PLAIN)
