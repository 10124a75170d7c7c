import time

import pytest

from toolhouse_async._cli.moments import ago, since


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
        (86_400 * 400, "400 d"),
    ],
)
def test_a_time_has_its_two_largest_units(seconds, text):
    assert ago(seconds) == text


def test_a_moment_is_said_where_it_is_known(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_000_090.0)
    assert since(1_000_000.0) == " since 1970-01-12 13:46:40 UTC (1 min 30 s)"
    assert since(None) == ""
