"""Files as people have them: every format gives the same rows; what is damaged is refused."""

import bz2
import csv
import gzip
import io
import json
import lzma
from datetime import date
from decimal import Decimal

import pytest
import zstandard

from srl_data.cli import cli
from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_data.json_values import JsonArray
from srl_data.records import PromptAnswer
from srl_data.sources import records_of
from srl_data.splits import open_source, open_splits

ROWS = [
    {"id": "a", "problem": "What is 1,000 + 1?\nThink.", "answer": "1001"},
    {"id": "b", "problem": 'Say "é, ü, 数"', "answer": ""},
    {"id": "c", "problem": "[1, 2]; {x}", "answer": "[1,2]"},
]
PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def table(rows, delimiter=","):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


TEXTS = {
    ".jsonl": lines,
    ".ndjson": lines,
    ".json": lambda rows: json.dumps(rows).encode(),
    ".csv": table,
    ".tsv": lambda rows: table(rows, "\t"),
}


def write_arrow(path, rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = pa.Table.from_pylist(rows)
    if path.suffix == ".parquet":
        pq.write_table(data, path)
    else:
        opened = pa.ipc.new_stream if path.name.startswith("stream") else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as file, opened(file, data.schema) as writer:
            writer.write_table(data, 2)
    return path


def rows_of(name):
    return [row for _, row in open_source(name).read("fail", print)]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("suffix", TEXTS)
def test_a_text_format_packed_or_not_gives_the_same_rows(tmp_path, suffix, packing):
    path = write(tmp_path / f"x{suffix}{packing}", PACK[packing](TEXTS[suffix](ROWS)))
    for _ in range(2):
        assert rows_of(path) == ROWS
    source = open_source(path)
    assert source.count() == 3
    assert [record.id for record in records_of(source, PromptAnswer)] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["x.parquet", "file.arrow", "stream.arrow", "x.feather"])
def test_tables_of_columns_give_the_same_rows(tmp_path, name):
    source = open_source(write_arrow(tmp_path / name, ROWS))
    assert [row for _, row in source.read("fail", print)] == ROWS
    assert source.count() == 3
    assert source.place(2) == f"{tmp_path / name}, row 3"


def test_values_that_json_has_not_become_those_that_it_has(tmp_path):
    day = date(2024, 2, 29)
    row = {"d": day, "n": Decimal("27.0"), "x": b"text", "y": b"\xff", "l": [{"t": day}], "z": None}
    (found,) = rows_of(write_arrow(tmp_path / "x.parquet", [row]))
    assert found == {
        "d": "2024-02-29", "n": 27, "x": "text", "y": "/w==", "l": [{"t": "2024-02-29"}], "z": None,
    }  # fmt: skip
    json.dumps(found)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        (b'\n\n{"a": 1}\n\n{"a": 2}', [{"a": 1}, {"a": 2}]),
        (b'{"a": 1}', [{"a": 1}]),
        (b'{\n  "a": [\n 1\n]\n}\n', [{"a": [1]}]),
        (b'{"a": 1,\n"b": 2}', [{"a": 1, "b": 2}]),
        (b'\xef\xbb\xbf[{"a": 1}]', [{"a": 1}]),
        (b"[]", []),
        (b' [ {"a": 1} , {"a": 2} ] \n', [{"a": 1}, {"a": 2}]),
    ],
)
def test_what_a_json_file_holds_is_told_by_its_content(tmp_path, content, expected):
    for name in ("x.json", "no_suffix"):
        assert rows_of(write(tmp_path / name, content)) == expected


def test_json_lines_in_a_json_file_are_refused_by_line_and_skipped(tmp_path):
    path = write(tmp_path / "x.json", b'{"a": 1}\n{oops\n{"a": 2}\n')
    with pytest.raises(DataError, match=r"x\.json:2: not JSON"):
        rows_of(path)
    skipped = []
    assert len(list(open_source(path).read("skip", skipped.append))) == 2
    assert skipped[0].startswith(f"{path}:2: ")


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 16])
def test_an_array_is_read_item_by_item_whatever_it_is_cut_at(monkeypatch, size):
    monkeypatch.setattr("srl_data.json_values.CHUNK", size)
    values = [{"a": "é" * 9, "b": [1.5, None, {"c": "]},"}]}, {}, 12345, "数\n", [], -1e9, True]
    for indent in (None, 2):
        file = io.BytesIO(json.dumps(values, ensure_ascii=False, indent=indent).encode())
        assert list(JsonArray(file)) == values


def test_memory_of_a_long_array_is_that_of_an_item():
    read = 0

    class Endless(io.RawIOBase):
        def read(self, size=-1):
            nonlocal read
            read += size
            return b'[{"a": "' + b"x" * 50 + b'"}' if read == size else b', {"a": "yyyyy"}' * 4096

    items = JsonArray(Endless())
    for _, _item in zip(range(50_000), items, strict=False):
        assert len(items._text) < 1 << 18
    assert read > 1 << 19


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[{} 2]", "expected , or ] after item 1, found '2'"),
        (b'[{"a": 1}', "expected , or ] after item 1, found the end of the file"),
        (b'[{"a": 1},', "item 2: Expecting value"),
        (b'[{"a": 1}] x', "more text after the array's end: 'x'"),
        (b'[{"a": 1}, {"b"}]', "item 2: "),
        (b'[{"a": "\xff"}]', "not UTF-8, near item 1"),
        (b"[" * 5000, "not JSON"),
        (b"", "not JSON, though it is called '.json'"),
        (b"42", "not JSON, though it is called '.json'"),
        (b'{\n"a": 1\n} x', "not JSON: Extra data"),
    ],
)
def test_json_that_is_none_is_refused(tmp_path, content, message):
    path = write(tmp_path / "x.json", content)
    with pytest.raises(DataError) as caught:
        rows_of(path)
    assert message in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("packing", [".gz", ".zst", ".bz2", ".xz"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".json"])
def test_a_packed_file_that_is_cut_off_is_an_error_not_a_shorter_file(tmp_path, suffix, packing):
    rows = [{**ROWS[0], "answer": str(n * 7919 % 10007)} for n in range(5000)]
    whole = PACK[packing](TEXTS[suffix](rows))
    for end in (len(whole) // 2, len(whole) - 3):
        path = write(tmp_path / f"x{suffix}{packing}", whole[:end])
        with pytest.raises(DataError, match="damaged or cut off"):
            rows_of(path)


def test_packed_files_of_several_parts_are_read_to_their_end(tmp_path):
    for packing in (".gz", ".zst", ".bz2", ".xz"):
        parts = b"".join(PACK[packing](lines([row])) for row in ROWS)
        assert rows_of(write(tmp_path / f"x.jsonl{packing}", parts)) == ROWS
    misnamed = write(tmp_path / "y.jsonl", gzip.compress(lines(ROWS)))
    assert rows_of(misnamed) == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the first line is blank, expected the names of the columns"),
        (b"a,a\n1,2\n", "names the column 'a' twice"),
        (b"a,,b\n1,2,3\n", "a column without a name"),
        (b"a,b\n1,2\n3\n", "x.csv:3: 1 columns, and the header has 2"),
        (b"a,b\n1,2,3\n", "x.csv:2: 3 columns, and the header has 2"),
        (b'a,b\n1,"2\n3,4\n5,6\n', "x.csv:2: unexpected end of data"),
        (b'a,b\n1,"2"x\n', "x.csv:2: ',' expected after '\"'"),
        (b"a,b\n1,\xff\n", "x.csv:2: not UTF-8"),
    ],
)
def test_csv_that_is_none_is_refused_with_its_line(tmp_path, content, message):
    with pytest.raises(DataError) as caught:
        rows_of(write(tmp_path / "x.csv", content))
    assert message in str(caught.value)


def test_csv_of_spreadsheets_and_of_pandas_is_read(tmp_path):
    excel = write(tmp_path / "x.csv", b"\xef\xbb\xbfproblem;answer\r\n1,5 + 1;2,5\r\n\r\n")
    assert rows_of(excel) == [{"problem": "1,5 + 1", "answer": "2,5"}]
    pandas = write(tmp_path / "y.csv", b",problem,answer\n0,P,7\n")
    assert rows_of(pandas) == [{"problem": "P", "answer": "7"}]
    skipped = []
    bad = write(tmp_path / "z.csv", b"a,b\n1\n1,2\n")
    found = list(open_source(bad).read("skip", skipped.append))
    assert found == [(1, {"a": "1", "b": "2"})]
    assert skipped == [f"{bad}:2: 1 columns, and the header has 2"]


@pytest.mark.parametrize("name", ["x.parquet.gz", "x.arrow.zst"])
def test_tables_of_columns_are_not_packed_again(tmp_path, name):
    write(tmp_path / name, b"x")
    with pytest.raises(DataError, match="unpack the file first"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["x.xlsx", "x", "x.txt", "x.tar.gz"])
def test_what_tells_no_format_is_refused(tmp_path, name):
    write(tmp_path / name, b"PK\x03\x04 some bytes")
    with pytest.raises(DataError, match="unknown kind of file"):
        open_source(tmp_path / name)
    write(tmp_path / name, lines(ROWS))
    assert rows_of(tmp_path / name) == ROWS


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
def test_damaged_tables_are_refused(tmp_path, name):
    write_arrow(tmp_path / name, ROWS)
    whole = (tmp_path / name).read_bytes()
    for content in (b"", b"PAR1", whole[: len(whole) // 2]):
        write(tmp_path / name, content)
        with pytest.raises(DataError, match="that can be read"):
            rows_of(tmp_path / name)


def test_a_glob_is_one_table_in_order_whatever_the_shards_are(tmp_path):
    write(tmp_path / "d/part-0.jsonl.gz", gzip.compress(lines(ROWS[:1])))
    write(tmp_path / "d/part-1.csv", table(ROWS[1:2]))
    write(tmp_path / "d/part-1.manifest.json", b"{}")
    write_arrow(tmp_path / "d/part-2.parquet", ROWS[2:])
    source = open_source(f"{tmp_path}/d/part-*")
    assert [row for _, row in source.read("fail", print)] == ROWS
    assert source.count() == 3
    assert source.place(1) == f"{tmp_path}/d/part-1.csv, row 1"
    assert open_splits(f"{tmp_path}/**/*.parquet").undivided
    with pytest.raises(DataError, match="no file matches"):
        open_source(f"{tmp_path}/d/none-*.jsonl")
    write(tmp_path / "d/part-1.jsonl", lines(ROWS))
    with pytest.raises(DataError, match="the same table twice"):
        open_source(f"{tmp_path}/d/*")


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    assert rows_of(write(tmp_path / "x[1].jsonl", lines(ROWS))) == ROWS


def completions(path):
    rows = [{"id": str(n), "completion": f"\\boxed{{{n}}}", "answer": "1"} for n in range(3)]
    if path.suffix in (".parquet", ".arrow"):
        return write_arrow(path, rows)
    packing = path.suffix if path.suffix in PACK else ""
    suffix = path.name.removesuffix(packing)[1:]
    return write(path, PACK[packing](TEXTS[suffix](rows)))


@pytest.mark.parametrize("name", ["x.csv", "x.json.gz", "x.ndjson.zst", "x.parquet", "x.arrow"])
def test_grade_and_inspect_read_every_format(tmp_path, capfdbinary, name):
    path = completions(tmp_path / name)
    assert execute(cli, "srl-data", ["grade", str(path), "--reward", "aime"]) == 0
    out, _ = capfdbinary.readouterr()
    assert [json.loads(line)["exact"] for line in out.splitlines()] == [False, True, False]
    answers = open_source(path)
    rows = [
        {"id": row["id"], "problem": "P", "answer": row["answer"]}
        for _, row in answers.read("fail", print)
    ]
    shards = [
        write(tmp_path / f"a-{n}.csv.gz", gzip.compress(table([row]))) for n, row in enumerate(rows)
    ]
    assert execute(cli, "srl-data", ["inspect", str(tmp_path / "a-*.csv.gz")]) == 0
    assert f"{len(shards)} PromptAnswer records".encode() in capfdbinary.readouterr().out


def test_a_bad_row_of_any_format_is_told_by_its_place(tmp_path, capfdbinary):
    path = write(tmp_path / "x.csv", b"completion,target_step\nx,1. x\nx,1. </think>\n")
    assert execute(cli, "srl-data", ["grade", str(path)]) == 3
    assert f"{path}, row 2: " in capfdbinary.readouterr().err.decode()
