from __future__ import annotations

import dataclasses
import decimal
import enum
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
    Union,
)

import attrs
import pydantic
import pytest

from toolhouse_async._values.parse import check_type
from toolhouse_async._values.results import TurnResult
from toolhouse_async.errors import ConfigurationError


class Colour(enum.StrEnum):
    RED = "red"


@attrs.frozen
class Point:
    x: int
    y: float = 0.0


@attrs.frozen
class Shape:
    name: str
    points: list[Point]
    colour: Colour = Colour.RED
    filled: bool = False
    made: datetime | None = None
    kind: Literal["a", "b"] = "a"
    size: int | None = None


@dataclasses.dataclass
class Data:
    rows: dict[str, list[int]]


@dataclasses.dataclass
class Impossible:
    id: uuid.UUID


class Named(TypedDict):
    name: str


class Typed(Named, total=False):
    count: int


class Model(pydantic.BaseModel):
    name: str
    when: datetime | None = None


def result(text: str) -> TurnResult:
    return TurnResult("agent", "run", text=text, rounds=(text,))


def test_attrs_classes() -> None:
    text = """Here:
```json
{"name": "n", "points": [{"x": 1}, {"x": 2, "y": 3}], "colour": "red", "filled": true,
 "made": "2026-01-02T03:04:05+00:00", "kind": "b", "size": 5, "more": "is ignored"}
```"""
    assert result(text).parse(Shape) == Shape(
        "n", [Point(1), Point(2, 3.0)], Colour.RED, True, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "b", 5
    )
    assert type(result(text).parse(Shape).colour) is Colour


def test_dataclasses() -> None:
    assert result('so: {"rows": {"a": [1, 2]}}').parse(Data) == Data({"a": [1, 2]})


def test_typed_dicts() -> None:
    assert result('{"name": "n"}').parse(Typed) == {"name": "n"}
    assert result('{"name": "n", "count": 2}').parse(Typed) == {"name": "n", "count": 2}


class Whole(TypedDict):
    number: str
    tax: NotRequired[float]


class Part(Whole, total=False):
    lines: Required[list[Whole]]
    note: str


def test_typed_dicts_say_which_keys_are_required_where_annotations_are_texts() -> None:
    assert result('{"number": "1"}').parse(Whole) == {"number": "1"}
    assert result('{"number": "1", "tax": 1}').parse(Whole | None) == {"number": "1", "tax": 1.0}
    assert result('{"number": "1", "lines": [{"number": "2"}]}').parse(Part)["lines"] == [{"number": "2"}]
    for wrong, why in (
        ("{}", "required field missing @ \\$.number"),
        ('{"number": "1"}', "required field missing @ \\$.lines"),
        ('{"number": "1", "lines": [{"number": "2", "tax": "0"}]}', 'expected float, got "0" @ \\$.lines\\[0\\].tax'),
        ("[]", "Part: expected an object, got an array"),
    ):
        with pytest.raises(ValueError, match=why):
            result(wrong).parse(Part)


def test_pydantic_models() -> None:
    made = result('{"name": "n", "when": "2026-01-02T03:04:05Z"}').parse(Model)
    assert made == Model(name="n", when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def test_pydantic_models_within_other_types() -> None:
    assert result('[{"name": "a"}]').parse(list[Model]) == [Model(name="a")]
    optional: Any = Model | None
    assert result("null").parse(optional) is None
    assert result('{"name": "a"}').parse(optional) == Model(name="a")


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    day: date
    colour: Literal["blue"] | Colour
    total: decimal.Decimal
    lines: tuple[int, ...]
    size: float = 0.0


def test_a_strict_pydantic_model_takes_what_json_writes_as_text() -> None:
    day = '{"day": "2026-01-31", "colour": "red", "total": "1.10", "lines": [1]}'
    fits = Strict(day=date(2026, 1, 31), colour=Colour.RED, total=decimal.Decimal("1.10"), lines=(1,))
    assert result(day).parse(Strict) == fits
    assert result(f"[{day}]").parse(list[Strict]) == [fits]
    assert result(day).parse(Strict | Model) == fits
    with pytest.raises(ValueError, match=r"1 validation error.*\n.*size.*\n.*valid number"):
        result(day.replace("}", ', "size": "0.5"}')).parse(Strict)


def test_a_text_stays_one_in_a_pydantic_model_that_takes_texts() -> None:
    class Free(pydantic.BaseModel):
        text: bytes | str

    assert result('{"text": "a"}').parse(Free).text == "a"


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


def test_a_choice_of_pydantic_models() -> None:
    either: Any = Cat | Dog
    assert result('{"kind": "dog"}').parse(either) == Dog(kind="dog")
    assert result('[{"kind": "dog"}, {"kind": "cat"}]').parse(list[either]) == [Dog(kind="dog"), Cat(kind="cat")]
    assert result('{"rows": {"a": [1]}}').parse(Union[Data, Cat]) == Data({"a": [1]})  # noqa: UP007 - as people write it
    assert result("null").parse(Cat | Dog | None) is None


def test_objects_of_any_keys() -> None:
    for wanted in (dict, dict[str, int], Mapping[str, int], dict[str, object], Mapping[str, object]):
        assert result('{"a": 1}').parse(wanted) == {"a": 1}


def test_an_object_of_python_is_any_json() -> None:
    assert result('[{"a": [1, null]}, "b"]').parse(list[object]) == [{"a": [1, None]}, "b"]
    assert result('{"a": {"b": 1}}').parse(dict[str, object]) == {"a": {"b": 1}}
    optional: Any = object | None
    for wanted in (object, optional):
        assert result('{"a": [1.5]}').parse(wanted) == {"a": [1.5]}
    with pytest.raises(ValueError, match="expected an object, got an array"):
        result("[1]").parse(dict[str, object])


@pytest.mark.parametrize("wanted", [uuid.UUID, list[uuid.UUID], Impossible])
def test_a_type_that_no_answer_has_is_no_fault_of_the_answer(wanted: Any) -> None:
    with pytest.raises(ConfigurationError, match="no answer can be parsed as"):
        result('{"id": "12345678-1234-5678-1234-567812345678"}').parse(wanted)


Alias = NewType("Alias", decimal.Decimal)
Item = TypeVar("Item")


@dataclasses.dataclass
class Price:
    price: decimal.Decimal | None = None


@attrs.frozen
class Bill:
    first: Annotated[Price | None, "note"] = None
    following: Bill | None = None


class Partial(TypedDict, total=False):
    price: Required[decimal.Decimal | None]


class Pair(NamedTuple):
    price: decimal.Decimal | None


@dataclasses.dataclass
class Box(Generic[Item]):
    item: Item
    items: list[Item]
    deep: list[Item] | None = None


@dataclasses.dataclass
class Raw:
    data: bytes | None = None


@dataclasses.dataclass
class Unclear:
    items: list[int] | list[str] | None = None


class Plain:
    pass


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (decimal.Decimal | None, "no JSON is read as Decimal: take what JSON has, such as str, and convert it"),
        (str | int | decimal.Decimal, "no JSON is read as Decimal: "),
        (list[decimal.Decimal | None], "no JSON is read as Decimal: "),
        (set[decimal.Decimal], "no JSON is read as Decimal: "),
        (tuple[int, decimal.Decimal | None], "no JSON is read as Decimal: "),
        (tuple[decimal.Decimal | None, ...], "no JSON is read as Decimal: "),
        (dict[str, decimal.Decimal | None], "no JSON is read as Decimal: "),
        (dict[uuid.UUID, int], "no JSON is read as UUID: "),
        (Alias | None, "no JSON is read as Decimal: "),
        (Box[decimal.Decimal | None], "no JSON is read as Decimal: "),
        (Price, "no JSON is read as Decimal @ Price.price: take what JSON has, such as str, and convert it"),
        (Bill, "no JSON is read as Decimal @ Price.price: "),
        (Partial, "no JSON is read as Decimal @ Partial.price: "),
        (Pair, "no JSON is read as Decimal @ Pair.price: "),
        (Impossible, "no JSON is read as UUID @ Impossible.id: "),
        (bytes, "JSON has no bytes: take str"),
        (Raw, "JSON has no bytes @ Raw.data: take str"),
        (Unclear, r"which of .* a value is cannot be told @ Unclear.items: take one of them, or Any"),
        (int | list[int] | list[str], "which of .* a value is cannot be told: take one of them, or Any"),
        (Model | Plain, "Unable to generate pydantic"),
    ],
)
def test_a_type_that_no_answer_has_is_found_wherever_it_stands(wanted: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^no answer can be parsed as .*: {reason}"):
        check_type(wanted)


def test_types_that_are_read_in_another_way_are_not_refused() -> None:
    @attrs.frozen
    class Converted:
        price: decimal.Decimal = attrs.field(converter=decimal.Decimal)
        unset: decimal.Decimal | None = attrs.field(default=None, init=False)

    price: Any = Converted | None
    assert result('{"price": "1.5"}').parse(price) == Converted("1.5")  # type: ignore[arg-type]
    assert result('{"item": 1, "items": [2]}').parse(Box[int]) == Box(1, [2])
    with pytest.raises(ConfigurationError, match="no answer can be parsed as this type"):  # cattrs says so late
        result('{"item": 1, "items": [2], "deep": [3]}').parse(Box[int])
    assert result("null").parse(Model | decimal.Decimal | None) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", [Point(1), Data({}), Model(name="a"), {"name": str}])
def test_an_object_is_no_type(wanted: Any) -> None:
    name = type(wanted).__name__
    with pytest.raises(ConfigurationError, match=f"as an object: pass the type {name} itself"):
        result('{"name": "a"}').parse(wanted)


def test_none_is_no_type() -> None:
    for text in ("null", '{"name": "a"}'):
        with pytest.raises(ConfigurationError, match="as None: pass a type"):
            result(text).parse(None)  # type: ignore[arg-type, type-var, unused-ignore]


def test_arrays_of_any_type() -> None:
    for wanted, expected in ((set[int], {1, 2}), (tuple[int, int], (1, 2)), (Sequence[int], [1, 2]), (list, [1, 2])):
        assert [*result("[1, 2]").parse(wanted)] == [*expected]


def test_plain_types() -> None:
    assert result("[1, 2]").parse(list[int]) == [1, 2]
    assert result("5").parse(int) == 5
    optional: Any = int | None
    assert result("null").parse(optional) is None


@pytest.mark.parametrize(
    ("wanted", "text", "names"),
    [
        (Point, '{"x": "1"}', ["Point", "$.x", "int"]),
        (Point, '{"x": null}', ["$.x"]),
        (Point, '{"x": 1.5}', ["$.x"]),
        (Point, '{"x": true}', ["$.x"]),
        (Point, "{}", ["Point", "x"]),
        (Point, "[]", ["Point"]),
        (Shape, '{"name": null, "points": []}', ["$.name"]),
        (Shape, '{"name": 5, "points": [{"x": "a"}]}', ["$.name", "$.points[0].x"]),
        (Shape, '{"name": "n", "points": [], "colour": "blue"}', ["$.colour"]),
        (Shape, '{"name": "n", "points": [], "filled": "no"}', ["$.filled"]),
        (Shape, '{"name": "n", "points": [], "kind": "c"}', ["$.kind"]),
        (Shape, '{"name": "n", "points": [], "made": "today"}', ["$.made"]),
        (Data, '{"rows": {"a": ["1"]}}', ["Data", "$.rows"]),
        (Typed, '{"count": 1}', ["Typed", "name"]),
        (Typed, '{"name": 5}', ["$.name"]),
        (int | None, '"x"', ["int | None"]),
        (list[str], '{"x": 1}', ["expected an array, got an object"]),
        (list[str], '"abc"', ["expected an array, got a text"]),
        (Sequence[str], "5", ["expected an array, got a number"]),
        (tuple[int, int], '{"1": 2, "2": 3}', ["expected an array, got an object"]),
        (Shape, '{"name": "n", "points": {"x": 1}}', ["expected an array, got an object @ $.points"]),
        (Data, '{"rows": {"a": "12"}}', ["expected an array, got a text"]),
        (Point, '[{"x": 1}]', ["expected an object, got an array"]),
        (list[Point], '{"x": 1}', ["expected an array, got an object"]),
        (Typed, "null", ["expected an object, got null"]),
        (dict, '["ab"]', ["expected an object, got an array"]),
        (dict[str, int], '""', ["expected an object, got a text"]),
        (Mapping[str, int], "[]", ["expected an object, got an array"]),
        (Cat | Dog, '{"kind": "cow"}', ["kind", "dog"]),
        (list[Model], '[{"name": 5}]', ["Model", "name"]),
        (Model | None, '{"name": 5}', ["Model", "name"]),
        (Model, '{"name": 5}', ["Model", "name"]),
    ],
)
def test_what_does_not_fit_is_a_value_error_saying_where(wanted: Any, text: str, names: list[str]) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        result(text).parse(wanted)
    assert not isinstance(caught.value, ConfigurationError)
    assert all(each in str(caught.value) for each in names), str(caught.value)


class Label(enum.Enum):
    BAD = "bad"
    GOOD = "good"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Judged:
    label: Label = Label.BAD
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    word: Literal["bad", "good"] = "bad"
    either: Literal[Label.GOOD, 1] | None = None
    score: float = 0.0


def test_enumerations_and_literals() -> None:
    text = '{"label": "good", "colour": "red", "level": 2, "word": "good", "either": "good", "score": 1}'
    expected = Judged(Label.GOOD, Colour.RED, Level.HIGH, "good", Label.GOOD, 1.0)
    assert result(text).parse(Judged) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"label": "mixed"}', '"mixed" is none of "bad", "good" @ $.label'),
        ('{"label": ["bad"]}', 'an array is none of "bad", "good" @ $.label'),
        ('{"label": null}', 'null is none of "bad", "good" @ $.label'),
        ('{"label": true}', 'true is none of "bad", "good" @ $.label'),
        ('{"colour": "grün"}', '"grün" is none of "red" @ $.colour'),
        ('{"colour": 5}', '5 is none of "red" @ $.colour'),
        ('{"level": 3}', "3 is none of 1, 2 @ $.level"),
        ('{"level": "low"}', '"low" is none of 1, 2 @ $.level'),
        ('{"word": "mixed"}', '"mixed" is none of "bad", "good" @ $.word'),
        ('{"word": {"bad": 1}}', 'an object is none of "bad", "good" @ $.word'),
        ('{"either": ["x"]}', 'an array is none of "good", 1 @ $.either'),
        ('{"score": "0.5"}', 'expected float, got "0.5" @ $.score'),
        ('{"score": null}', "expected float, got null @ $.score"),
        (f'{{"word": "{"x" * 5000}"}}', f'"{"x" * 80}…" is none of "bad", "good" @ $.word'),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_what_would(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="does not fit") as caught:
        result(text).parse(Judged)
    assert str(caught.value) == f"the worker's JSON does not fit Judged: {reason}"


def is_short(instance: object, attribute: object, value: str) -> None:
    assert len(value) < 10, f"{value} is too long: {'x' * 5000}"


@attrs.frozen
class Rated:
    score: int = attrs.field(default=1, validator=attrs.validators.le(5))
    word: str = attrs.field(default="a", validator=attrs.validators.in_(["a", "b"]))
    name: str = attrs.field(default="", validator=is_short)


@dataclasses.dataclass
class Checked:
    score: int = 1
    day: date | None = None
    when: datetime | None = None
    either: str | int = 0

    def __post_init__(self) -> None:
        if self.score > 9:
            raise KeyError("no such score")
        if self.score > 7:
            raise ValueError
        if self.score > 5:
            raise ValueError("score must be 1 to 5", self)


@pytest.mark.parametrize(
    ("wanted", "text", "reason"),
    [
        (Rated, '{"score": 9}', "'score' must be <= 5: 9 @ $"),
        (Rated, '{"word": "c"}', "'word' must be in ['a', 'b'] (got 'c') @ $"),
        (Checked, '{"score": 6}', "score must be 1 to 5 @ $"),
        (Checked, '{"score": 8}', "invalid value @ $"),
        (Checked, '{"score": 10}', "no such score @ $"),
        (list[Checked], '[{"score": 6}]', "score must be 1 to 5 @ $[0]"),
        (Checked, '{"day": "31.1."}', 'expected date, such as 2026-01-31, got "31.1." @ $.day'),
        (Checked, '{"day": 5}', "expected date, such as 2026-01-31, got 5 @ $.day"),
        (Checked, '{"when": "now"}', 'expected datetime, such as 2026-01-31T12:00:00+00:00, got "now" @ $.when'),
        (Checked, '{"either": [1]}', "expected str | int, got an array @ $.either"),
    ],
)
def test_what_the_types_themselves_say_of_a_value_is_told(wanted: Any, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="does not fit") as caught:
        result(text).parse(wanted)
    assert str(caught.value).partition(": ")[2] == reason
    with pytest.raises(ValueError, match="1234567890 is too long") as caught:
        result('{"name": "1234567890"}').parse(Rated)
    assert len(str(caught.value)) < 600


def test_the_error_is_short() -> None:
    with pytest.raises(ValueError, match="does not fit") as caught:
        result(f"[{','.join(['0.5'] * 20_000)}]").parse(list[int])
    assert len(str(caught.value)) < 3000


def test_no_json_at_all() -> None:
    with pytest.raises(ValueError, match="no JSON in the worker's answer; tried"):
        result("sorry").parse(Point)


def test_without_cattrs_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["cattrs"] = None
import attrs, pydantic
from toolhouse_async._values.results import TurnResult
from toolhouse_async.errors import ConfigurationError
@attrs.define
class Point:
    x: int
class Model(pydantic.BaseModel):
    x: int
result = TurnResult("a", "r", text='{"x": 1}')
assert result.parse(Model) == Model(x=1)
try:
    result.parse(Point)
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'toolhouse-async[parse]'" in done.stdout
