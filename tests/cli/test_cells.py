import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async._cli.analysis.cells import Kind, classify, number


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "nan", "None", "-", "--", "?", "#N/A", "<NA>", "."])
def test_a_marker_of_a_missing_value_is_missing(cell):
    assert classify(cell) == (Kind.MISSING, None)


@pytest.mark.parametrize(
    ("cell", "kind", "value"),
    [
        ("0", Kind.INTEGER, 0),
        ("-12", Kind.INTEGER, -12),
        ("+3", Kind.INTEGER, 3),
        ("1.50", Kind.NUMBER, 1.5),
        (".5", Kind.NUMBER, 0.5),
        ("1e3", Kind.NUMBER, 1000),
        ("1,234", Kind.NUMBER, 1234),
        ("-1,234,567.8", Kind.NUMBER, -1234567.8),
        ("007", Kind.CODE, 7),
        ("yes", Kind.BOOLEAN, None),
        ("FALSE", Kind.BOOLEAN, None),
        ("2024-02-29", Kind.DATE, None),
        ("2024-02-29T10:00:00Z", Kind.DATE, None),
        ("2023-02-29", Kind.TEXT, None),
        ("2024-1-1", Kind.TEXT, None),
        ("1_000", Kind.TEXT, None),
        ("inf", Kind.TEXT, None),
        ("-infinity", Kind.TEXT, None),
        ("1e999", Kind.TEXT, None),
        ("1,23", Kind.TEXT, None),
        ("12,34,567", Kind.TEXT, None),
        ("1.2.3", Kind.TEXT, None),
        ("١٢", Kind.TEXT, None),
        ("5 %", Kind.TEXT, None),
        ("9" * 65, Kind.TEXT, None),
        ("word", Kind.TEXT, None),
    ],
)
def test_cells_with_a_decimal_point(cell, kind, value):
    assert classify(cell) == (kind, value)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1,5", 1.5),
        ("-0,25", -0.25),
        ("1.234,56", 1234.56),
        ("1.234.567", 1234567),
        ("1.234.567,5", 1234567.5),
        ("48.137", 48.137),
        ("1,2,3", None),
        ("1.2,3", None),
    ],
)
def test_cells_with_a_decimal_comma(cell, value):
    assert number(cell, ",") == value


@given(st.floats(min_value=-1e150, max_value=1e150))
def test_every_finite_number_that_python_writes_is_read_back(value):
    assert number(repr(value)) == value
    assert number(repr(value).replace(".", ","), ",") == value


@given(st.text(max_size=80), st.sampled_from(".,"))
def test_any_text_is_something_and_numbers_are_finite(cell, decimal):
    kind, value = classify(cell.strip(), decimal)
    assert (value is not None) == (kind in (Kind.INTEGER, Kind.NUMBER, Kind.CODE))
    assert value is None or math.isfinite(value)
