import os

import pytest

from toolhouse_async._cli.analysis.dialect import detect_dialect
from toolhouse_async._cli.analysis.encoding import CSVError
from toolhouse_async._cli.analysis.profile import read_table


@pytest.fixture
def write(tmp_path):
    def write(content, encoding="utf-8"):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(write, separator):
    rows = [["name", "size", "note"], ["Ada", "1.5", "a, b; c | d"], ["Bo", "2.5", "plain"]]
    text = "\n".join(separator.join(f'"{c}"' if " " in c else c for c in row) for row in rows)
    dialect = detect_dialect(write(text))
    assert dialect.separator == separator
    assert dialect.names == ("name", "size", "note")
    assert dialect.first[0] == ("Ada", "1.5", "a, b; c | d")


def test_semicolons_win_over_decimal_commas(write):
    dialect = detect_dialect(write("a;b;c\n1,5;2,5;3,5\n4,5;5,5;6,5\n"))
    assert (dialect.separator, dialect.decimal) == (";", ",")


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("a;b\n1,234;x\n2,345;y\n", ","),  # with semicolons, a decimal comma
        ('a,b\n"1,234",x\n"2,345",y\n', "."),  # with commas, thousands
        ('a,b\n"1,5",x\n"2,75",y\n', ","),
        ("a\tb\n1.5\tx\n2.5\ty\n", "."),
        ("a;b\n1.234,56;1.000\n-7,00;2.500\nx;3.000\n4,5;4.000\n", ","),  # thousands turn no file over
        ('a,b\n"1,234.56","1,000"\n-7.00,"2,500"\n', "."),
        ("a;b;c\n1.5;1,000;9,999\n2.5;2,500;x\n", "."),
        ("a;b;c\n3,5;48.1371;11.5755\n4,5;48.2;11.6\n", ","),  # coordinates are numbers in either way
        ("a;b\n1.234.567;x\n2.345.678;y\n", ","),
        ("a;b\n1.000;31.12.2024\n2.000;01.01.2025\n", "."),
    ],
)
def test_the_decimal_mark_is_found(write, text, decimal):
    assert detect_dialect(write(text)).decimal == decimal


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a;b\n1.234,56;1.000\n-7,00;2.500\n4,5;3.000\n10,5;850\n", [1000, 2500, 3000, 850]),
        ("a;b\n1,5;1.000\n2,5;2.500,5\n", [1000, 2500.5]),
        ("a;b\n1,5;48.137\n2,5;48.1371\n", [48.137, 48.1371]),
        ("a;b\n1,5;0.125\n2,5;1.125\n", [0.125, 1.125]),
        ("a;b\n1.5;1,000\n2.5;2,500\n", [1000, 2500]),
        ("a;b\n1.5;1.000\n2.5;2.500\n", [1, 2.5]),
    ],
)
def test_a_column_that_is_certain_decides_what_groups_thousands(write, text, values):
    assert list(read_table(write(text)).columns[1].values) == values


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
    ],
)
def test_the_encoding_is_found_and_names_and_values_come_out_right(write, encoding, found):
    table = read_table(write("città,größe\nMünchen,1.5\nNîmes,2.5\n" * 3, encoding))
    assert table.dialect.encoding == found
    assert table.dialect.names == ("città", "größe")
    assert table.columns[0].report()["top"][0]["value"] == "München"


def test_bytes_without_meaning_in_windows_1252_are_latin_1(write):
    assert detect_dialect(write(b"a,b\n\x81,\xe9\n")).encoding == "latin-1"


def test_an_accent_far_into_the_file_decides_the_encoding(write):
    assert detect_dialect(write(b"a,b\n" + b"1,2\n" * 600_000 + b"\xe9,3\n")).encoding == "cp1252"


def test_excel_s_separator_line_is_obeyed(write):
    table = read_table(write("sep=;\r\na;b\r\n1;2\r\n3;4\r\n"))
    assert table.dialect.names == ("a", "b")
    assert table.rows == 2


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_quoted_newlines_quotes_and_separators_stay_in_their_cells(write, newline):
    text = newline.join(["a,b", f'"one{newline}two","say ""hi"", x"', "3,4", ""])
    table = read_table(write(text))
    assert table.rows == 2
    assert table.columns[0].report()["top"][0]["value"] == f"one{newline}two"
    assert table.columns[1].report()["top"][0]["value"] == 'say "hi", x'


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("rows", "where"),
    [
        (['1,"never closed', "2,x", "3,y"], "lines 2 to 4"),
        (["1,x", '2,"never closed'], "line 3"),
        (['1,"never closed', "2,x", '3,"closed"', "4,y"], "lines 2 to 4"),
        (["1,x", "", '"2,x', '3,y"z'], "lines 4 to 5"),
    ],
)
def test_a_quote_that_swallows_rows_is_refused_with_its_lines(write, separator, rows, where):
    text = "\n".join(["a,b", *rows, ""]).replace(",", separator)
    with pytest.raises(CSVError, match=rf"data.csv, {where}: a quote is opened on line \d and never closed"):
        read_table(write(text))


def test_names_are_made_unique_and_empty_ones_are_numbered(write):
    names = detect_dialect(write("x,x,,x (2),\n1,2,3,4,5\n")).names
    assert names == ("x", "x (3)", "column 3", "x (2)", "column 5")


def test_a_file_of_one_column_may_hold_commas(write):
    table = read_table(write("remark\nhello, world\nwell, well, well\nno comma\n"))
    assert table.dialect.separator == ""
    assert (table.rows, table.long_rows) == (3, 0)


def test_a_first_record_of_numbers_is_data_unless_it_is_years(write):
    bare = read_table(write("1.5,2\n2.5,3\n"))
    assert (bare.dialect.header, bare.dialect.names, bare.rows) == (False, ("column 1", "column 2"), 2)
    years = read_table(write("2019,2020\n1,2\n"))
    assert (years.dialect.header, years.dialect.names, years.rows) == (True, ("2019", "2020"), 1)


def _missing(path):
    return path / "nothing.csv"


def _pipe(path):
    os.mkfifo(path / "pipe.csv")
    return path / "pipe.csv"


def _holding(content):
    def make(path):
        (path / "data.csv").write_bytes(content)
        return path / "data.csv"

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_missing, "No such file"),
        (lambda path: path, "is a directory"),
        (_pipe, "not a regular file"),
        (_holding(b""), "is empty"),
        (_holding(b" \n\n\t\n"), "is empty"),
        (_holding(b"\xef\xbb\xbf\n\n"), "has no rows"),
        (_holding(b"a,b,c\n"), "a header and no rows"),
        (_holding(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0"), "binary"),
        (_holding(bytes(range(1, 256)) * 20), "binary"),
        (_holding(b"\0\1\2\3" * 100), "binary"),
        (_holding(b"a,b\n1,one\n2,t\0wo\n3,three\n"), "data.csv, line 3: a NUL byte"),
        (_holding(b"\xff\xfea\0,\0b\0\n\0\x00\xd8x\0"), "utf-16"),
        (_holding(b",".join(b"c%d" % i for i in range(5001)) + b"\n1,2\n"), "5,001 columns"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, make, message):
    with pytest.raises(CSVError, match=message):
        detect_dialect(make(tmp_path))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(write):
    path = write("a,b\n1,2\n")
    path.chmod(0)
    with pytest.raises(CSVError, match="Permission denied"):
        detect_dialect(path)
