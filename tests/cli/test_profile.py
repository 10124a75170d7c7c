import math
import statistics
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async._cli.analysis import PENGUINS
from toolhouse_async._cli.analysis.columns import Column
from toolhouse_async._cli.analysis.encoding import CSVError
from toolhouse_async._cli.analysis.profile import profile, read_table

numbers = st.lists(st.floats(min_value=-1e9, max_value=1e9), min_size=1, max_size=60)


def column_of(cells, **options):
    column = Column("x", **options)
    column.add(cells)
    return column


@given(numbers)
def test_figures_agree_with_the_statistics_module(values):
    report = column_of(map(repr, values)).report()
    assert report["type"] == "number"
    assert report["count"] == len(values)
    assert (report["min"], report["max"]) == (min(values), max(values))
    assert report["median"] == pytest.approx(statistics.median(values), rel=1e-12, abs=1e-300)
    assert report["mean"] == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-300)
    if len(values) == 1:
        assert report["stdev"] is None
    else:
        rounding = 1e-12 * max(map(abs, values))
        assert report["stdev"] == pytest.approx(statistics.stdev(values), rel=1e-9, abs=rounding)
        quarters = statistics.quantiles(values, n=4, method="inclusive")
        assert [report["q1"], report["median"], report["q3"]] == pytest.approx(quarters)


@pytest.mark.parametrize(
    ("cells", "outliers"),
    [
        ([*"12345"], []),
        ([*"12345", "50", "-40", "9"], [50, -40]),  # nine is at the fence and not beyond it
        (["7"], []),
        (["7"] * 9 + ["8"], [8]),
    ],
)
def test_what_is_far_from_the_middle_half_is_an_outlier_the_farthest_first(cells, outliers):
    report = column_of(cells).report()
    assert report["outliers"] == outliers
    assert report["outlier_count"] == len(outliers)


def test_of_many_outliers_the_farthest_are_named_and_all_counted():
    report = column_of(["0"] * 1000 + [str(n) for n in range(1, 31)]).report()
    assert report["outliers"] == [float(n) for n in range(30, 10, -1)]
    assert report["outlier_count"] == 30


@given(st.lists(st.sampled_from(["1", "2.5", "NA", "", "word", "true", "2024-01-01", "x\ny"]), max_size=60))
def test_every_cell_is_counted_as_present_missing_or_invalid(cells):
    report = column_of(cells).report()
    assert report["count"] + report["missing"] + report["invalid"] == len(cells)
    assert report["missing"] == sum(cell in ("NA", "") for cell in cells)
    assert report["distinct"] == len({cell for cell in cells if cell not in ("NA", "")})


@given(st.lists(st.sampled_from(["a", "b", " ab", "2", "NA"])), st.integers(1, 7))
def test_the_order_and_the_blocks_of_cells_do_not_matter(cells, size):
    whole, pieces = column_of(cells).report(), Column("x")
    for start in range(0, len(cells), size):
        pieces.add(reversed(cells[start : start + size]))
    summed_up = pieces.report()
    for report in (whole, summed_up):
        report["top"].sort(key=str)
    assert whole == summed_up


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2", "NA"], "integer"),
        (["1", "2.0"], "number"),
        (["yes", "no", "yes"], "boolean"),
        (["2024-01-01", "2023-05-05T12:00"], "date"),
        (["01234", "99999"], "text"),
        (["1", "true"], "text"),
        (["", "NA"], "empty"),
        ([str(i) for i in range(95)] + ["?!"] * 5, "integer"),
        ([str(i) for i in range(94)] + ["?!"] * 6, "text"),
    ],
)
def test_a_column_s_type(cells, kind):
    assert column_of(cells).report()["type"] == kind


def test_dates_have_a_first_and_a_last():
    report = column_of(["2024-05-01", "2023-12-31", "2024-01-01"]).report()
    assert (report["first"], report["last"]) == ("2023-12-31", "2024-05-01")


def test_distinct_values_are_counted_up_to_a_limit_and_long_ones_cut():
    report = column_of([f"value {i}" for i in range(50)] + ["value 1"], distinct_limit=10).report()
    assert (report["distinct"], report["distinct_is_exact"], report["count"]) == (10, False, 51)
    assert len(column_of(["x" * 100_000]).report()["top"][0]["value"]) < 300


@pytest.mark.parametrize(
    ("name", "cells", "id_like"),
    [
        ("n", ["1", "2", "3", "4"], True),
        ("year", ["2007", "2008", "2008"], True),
        ("user_id", ["17", "17", "5"], True),
        ("age", ["30", "41", "30"], False),
        ("n", ["1", "2", "2", "4"], False),
        ("price", ["1.5", "2.5"], False),
    ],
)
def test_numbers_that_only_name_rows_are_told_from_measurements(name, cells, id_like):
    column = Column(name)
    column.add(cells)
    assert column.id_like == id_like


def test_the_penguins_are_as_their_publication_says():
    report = profile(read_table(PENGUINS))
    columns = {c["name"]: c for c in report["columns"]}
    assert report["rows"] == 344
    species = {top["value"]: top["count"] for top in columns["species"]["top"]}
    assert species == {"Adelie": 152, "Gentoo": 124, "Chinstrap": 68}
    assert columns["bill_length_mm"]["mean"] == pytest.approx(43.92193)
    assert columns["body_mass_g"]["stdev"] == pytest.approx(801.9545)
    assert columns["sex"]["missing"] == 11
    assert report["histogram"]["column"] == "bill_length_mm"
    assert sum(report["histogram"]["counts"]) == 342


def test_the_histogram_is_of_the_column_asked_for(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("id,name,size\n1,a,10\n2,b,30\n3,c,30\n")
    table = read_table(path)
    assert profile(table)["histogram"]["column"] == "size"
    assert profile(table, "id")["histogram"]["column"] == "id"
    with pytest.raises(CSVError, match="no column \"weight\"; it has: 'id', 'name', 'size'"):
        profile(table, "weight")
    with pytest.raises(CSVError, match='"name" holds no numbers'):
        profile(table, "name")


def test_without_numbers_there_is_no_histogram(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b\nx,y\nz,w\n")
    assert profile(read_table(path))["histogram"] is None


def test_ragged_rows_are_counted_and_padded(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n1,2,3\n4\n\n5,6,7,8\n9,10,11\n")
    report = profile(read_table(path))
    assert (report["rows"], report["short_rows"], report["long_rows"]) == (4, 1, 1)
    assert report["ragged_line"] == 3
    assert [c["missing"] for c in report["columns"]] == [0, 1, 1]
    assert report["columns"][2]["max"] == 11


def test_an_open_quote_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('a,b\n1,"never closed\n' + "2,3\n" * 400_000)
    with pytest.raises(CSVError, match=r"line 2: .*quote is never closed"):
        read_table(path)


def test_memory_grows_by_the_numbers_alone(tmp_path):
    path = tmp_path / "data.csv"
    rows = 40_000
    with path.open("w") as file:
        file.write("x,label,remark\n")
        file.writelines(f"{i / 7:.5f},label {i % 9},remark number {i}\n" for i in range(rows))
    tracemalloc.start()
    try:
        seen = []
        table = read_table(path, lambda *progress: seen.append(progress))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert table.rows == rows
    assert seen[-1] == (rows, 1.0)
    assert seen == sorted(seen)
    assert peak < rows * 8 * 2 + 10_000_000  # the numbers while their array grows; a block; bounded tables
    assert math.isclose(table.columns[0].report()["mean"], (rows - 1) / 14, rel_tol=1e-6)
