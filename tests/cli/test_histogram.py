from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from toolhouse_async._cli.analysis.histogram import histogram

numbers = st.one_of(st.floats(min_value=-1e150, max_value=1e150), st.integers(-1000, 1000).map(float))


@given(st.lists(numbers, min_size=1, max_size=200), st.booleans())
@example([1e15, 1e15 + 0.125], False)
@example([1.0, 1.0000000000000002], False)
@example([5e-324, 1e-323], False)
@example([-1e150, 1e150], False)
@example([0.0] * 50 + [1.0], False)
def test_every_number_is_counted_once_in_the_bin_whose_edges_hold_it(values, whole):
    bins = histogram("x", values, whole=whole)
    edges, counts = bins["edges"], bins["counts"]
    assert len(edges) == len(counts) + 1
    assert all(a < b for a, b in pairwise(edges))
    expected = [sum(a <= v < b for v in values) for a, b in pairwise(edges)]
    expected[-1] += sum(v == edges[-1] for v in values)
    assert counts == expected
    assert sum(counts) == len(values)
    assert 1 <= len(counts) <= 30


@given(st.lists(st.integers(0, 10_000).map(float), min_size=2, max_size=300, unique=True))
def test_bins_of_whole_numbers_are_at_least_one_wide(values):
    edges = histogram("x", values, whole=True)["edges"]
    assert all(b - a >= 1 for a, b in pairwise(edges))


def test_edges_are_round_numbers():
    assert histogram("x", [0.13, 0.22, 0.31, 0.39, 0.61])["edges"] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
