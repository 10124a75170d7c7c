import random
import statistics

import pytest

from toolhouse_async._cli.analysis import intervals as module
from toolhouse_async._cli.analysis.columns import Column
from toolhouse_async._cli.analysis.intervals import intervals


def column_of(values, name="x"):
    column = Column(name)
    column.add(map(repr, values))
    return column


def test_the_interval_of_a_mean_is_that_of_the_textbook():
    source = random.Random(7)
    values = [source.gauss(50, 10) for _ in range(400)]
    found = intervals([column_of(values)], resamples=1000)
    low, high = found["intervals"][0]["mean"]
    margin = 1.96 * statistics.stdev(values) / 20
    assert low == pytest.approx(statistics.fmean(values) - margin, abs=0.15)
    assert high == pytest.approx(statistics.fmean(values) + margin, abs=0.15)
    low, high = found["intervals"][0]["median"]
    assert low < statistics.median(values) < high


def test_a_large_column_is_resampled_in_part_and_its_interval_is_as_narrow_as_it_should_be(monkeypatch):
    monkeypatch.setattr(module, "_DRAWS", 400_000)
    source = random.Random(8)
    values = [source.gauss(0, 1) for _ in range(10_000)]
    found = intervals([column_of(values, "a"), column_of(values, "b")], resamples=1000)
    assert found["resample_size"] == {"a": 200, "b": 200}
    low, high = found["intervals"][0]["mean"]
    assert high - low == pytest.approx(2 * 1.96 / 10_000**0.5, rel=0.25)


def test_the_same_columns_give_the_same_intervals_and_text_ids_and_years_have_none():
    columns = [column_of([1.5, 2.5, 9.5]), column_of([2007, 2008, 2009], "year"), column_of(["a", "b"], "t")]
    first, second = (intervals(columns, resamples=50) for _ in range(2))
    assert first["intervals"] == second["intervals"]
    assert [i["column"] for i in first["intervals"]] == ["x"]
