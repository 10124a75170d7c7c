import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from toolhouse_async._cli import figures, terminal
from toolhouse_async._cli.analysis import PENGUINS
from toolhouse_async._cli.analysis.intervals import intervals
from toolhouse_async._cli.analysis.profile import profile, read_table


def console_of(encoding, width=100):
    return Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline=""), width=width, markup=False)


def shown(console):
    console.file.flush()
    return console.file.buffer.getvalue().decode(console.encoding)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, ""),
        (0.0, "0"),
        (3.0, "3"),
        (-1234567.0, "-1,234,567"),
        (43.9219, "43.92"),
        (4201.754, "4201.75"),
        (2007.0, "2007"),
        (52017.5, "52,017.50"),
        (123456.7, "123,457"),
        (0.00123456, "0.001235"),
        (6.02e23, "6.02e+23"),
    ],
)
def test_numbers_are_written_for_reading(number, text):
    assert figures.figure(number) == text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_tables_hold_every_column_and_fit_the_width(encoding, width):
    console = console_of(encoding, width)
    marks = terminal.make_marks(console)
    table = read_table(PENGUINS)
    for renderable in figures.profile_tables(profile(table), marks):
        console.print(renderable)
    console.print(figures.intervals_table(intervals(table.columns, resamples=20), marks))
    lines = shown(console).splitlines()
    assert max(map(len, lines)) <= width
    if width >= 80:
        text = "\n".join(lines)
        for expected in ("species", "Adelie (152)", "43.92", "4201.75", "801.95", "95% confidence"):
            assert expected in text


def test_names_and_cells_from_the_file_are_harmless_and_no_markup(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("[red]x[/red],\x1b[2Jy\n1.5,\x1b]0;gotcha\x07\n2.5,\x1b]0;gotcha\x07\n")
    console = console_of("utf-8")
    report = profile(read_table(path))
    marks = terminal.make_marks(console)
    for renderable in figures.profile_tables(report, marks):
        console.print(renderable)
    for line in figures.histogram_lines(report["histogram"], marks, 80):
        console.print(line)
    text = shown(console)
    assert "[red]x[/red]" in text
    assert "\\x1b[2Jy" in text
    assert "\\x1b]0;gotcha\\x07 (2)" in text
    assert not set(text) & {"\x1b", "\x07"}


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=20).filter(any), st.sampled_from(["utf-8", "ascii"]))
def test_bars_are_as_long_as_their_counts(counts, encoding):
    marks = terminal.make_marks(console_of(encoding))
    edges = [float(i) for i in range(len(counts) + 1)]
    title, *lines = figures.histogram_lines({"column": "x", "edges": edges, "counts": counts}, marks, 80)
    assert title.plain == "Histogram of x"
    lengths = [sum(c in marks.bar for c in line.plain) for line in lines]
    assert max(len(line.plain) for line in lines) <= 80
    for count, length, line in zip(counts, lengths, lines, strict=True):
        assert line.plain.endswith(f" {count:,}")
        assert (length == 0) == (count == 0)
        assert abs(length - count / max(counts) * max(lengths)) <= 1


def test_edges_are_written_alike_and_told_apart():
    counts = [1, 1]
    marks = terminal.make_marks(console_of("ascii"))
    lines = figures.histogram_lines({"column": "x", "edges": [0.0, 0.25, 0.5], "counts": counts}, marks, 80)
    assert lines[1].plain.split("  ")[1] == "0.00 - 0.25"
