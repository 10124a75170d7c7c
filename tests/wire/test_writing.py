from __future__ import annotations

import json
import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from tests.wire.strategies import json_values, nested
from toolhouse_async._wire.jsontext import loads
from toolhouse_async._wire.writing import dumps


class Colour(Enum):
    RED = "red"
    NONE = math.nan


class Number(IntEnum):
    ONE = 1


@dataclass
class Point:
    x: Any
    y: Any = None


@given(json_values)
def test_what_is_written_is_read(value: Any) -> None:
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"é": "\U0001f600"}, '{"é":"\U0001f600"}'),
        ({"a": None, "b": [None, "null"]}, '{"a":null,"b":[null,"null"]}'),
        ({"n": 2**64 - 1}, '{"n":18446744073709551615}'),
        ({"n": 2**64}, '{"n":18446744073709551616}'),
        ({"n": [-(2**63) - 1]}, '{"n":[-9223372036854775809]}'),
        ({"é": 10**400, "f": 1e300}, f'{{"é":{10**400},"f":1e+300}}'),
        (nested(300), json.dumps(nested(300), separators=(",", ":"))),
        (OrderedDict(a=(1, None)), '{"a":[1,null]}'),
        (
            {"colour": Colour.RED, "none": None, "point": Point(1)},
            '{"colour":"red","none":null,"point":{"x":1,"y":null}}',
        ),
        (
            {"n": 2**70, "day": date(2026, 1, 2), "time": datetime(2026, 1, 2, tzinfo=UTC), "colour": Colour.RED},
            '{"n":1180591620717411303424,"day":"2026-01-02","time":"2026-01-02T00:00:00+00:00","colour":"red"}',
        ),
        ([UUID(int=0), Number.ONE, True, None], '["00000000-0000-0000-0000-000000000000",1,true,null]'),
    ],
)
def test_values_are_written_exactly(value: object, text: str) -> None:
    assert dumps(value).decode() == text


ITSELF: list[Any] = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "it is nan, and JSON has no such number"),
        ({"a": math.nan}, r"\['a'\] is nan"),
        ({"a": [1, {"b": (0, math.inf)}]}, r"\['a'\]\[1\]\['b'\]\[1\] is inf"),
        ([2**70, -math.inf], r"\[1\] is -inf"),
        ({"a": Colour.NONE}, r"\['a'\] is nan"),
        ({"a": Point(1, [math.nan])}, r"\['a'\]\['y'\]\[0\] is nan"),
        (nested(300, math.nan), r"…(\['in'\]|\[0\]){5} is nan"),
        ({"x" * 999: math.nan}, r"\['x{1,40}.{0,3} is nan"),
        ("half \ud83d", "it holds half of a character"),
        ({"a": ["\ud83d"]}, r"\['a'\]\[0\] holds half of a character"),
        ({"\ud83d": 1}, "it has a key that holds half of a character"),
        ({"a": {1: "b"}}, r"\['a'\] has the key 1, and JSON's keys are strings"),
        ({None: "b"}, "it has the key None"),
        ({(1, 2): 3}, r"it has the key \(1, 2\)"),
        ({"a": {1, 2}}, r"\['a'\] is of type set, for which JSON has no form"),
        ({"a": b"bytes"}, r"\['a'\] is of type bytes"),
        ({"a": MappingProxyType({})}, r"\['a'\] is of type mappingproxy"),
        ([object()], r"\[0\] is of type object"),
        (nested(100_000), "it is nested too deeply"),
        (ITSELF, "Circular reference"),
        ([Point(2**70)], "64-bit"),
        ([10**5000], "digits"),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_place(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^cannot be written as JSON: .*{reason}") as caught:
        dumps(value)
    assert len(str(caught.value)) < 500


def test_what_is_held_many_times_is_looked_at_once() -> None:
    value: Any = [None]
    for _ in range(18):
        value = [value, value]
    assert dumps(value).count(b"null") == 2**18
