"""Structuring JSON into the user's types; kept apart since it needs packages that only some users have."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
from collections import abc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs

from ..errors import ConfigurationError
from .nested import short

T = TypeVar("T")

_PLAIN: Final[dict[type, tuple[type, ...]]] = {str: (str,), int: (int,), float: (float, int), bool: (bool,)}
"""What JSON may hold where such a type is wanted: cattrs itself would turn ``null`` into ``"None"``."""
_ARRAYS: Final = (
    *(list, tuple, set, frozenset),
    *(abc.Sequence, abc.MutableSequence, abc.Set, abc.MutableSet, abc.Collection, abc.Iterable),
)
"""Types that JSON writes as arrays: cattrs itself would take whatever can be iterated, such as a text."""
_OBJECTS: Final = (dict, abc.Mapping, abc.MutableMapping)
"""Types that JSON writes as objects: cattrs itself would take pairs, too."""
_TIMES: Final = {dt.date: "2026-01-31", dt.datetime: "2026-01-31T12:00:00+00:00"}
"""How JSON's texts write them."""
_UNIONS: Final = (Union, UnionType)
_WRAPPERS: Final = (Annotated, Final, NotRequired, Required)
_JSON_NAMES: Final = {dict: "an object", list: "an array", str: "a text", type(None): "null", bool: "true or false"}


def structure(value: Any, wanted: type[T]) -> T:
    """Structure a JSON value as ``wanted``; see :meth:`toolhouse_async.TurnResult.parse`."""
    if _is_model(wanted):
        model: T = _modelled(value, wanted)  # pydantic's ValidationError is a ValueError
        return model
    structured = _structuring(wanted)
    try:
        return structured(value, wanted)  # type: ignore[no-any-return]
    except Exception as error:
        from cattrs import transform_error

        reasons = "; ".join(transform_error(error, format_exception=_reason))
        raise ValueError(f"the worker's JSON does not fit {name_of(wanted)}: {reasons:.2000}") from error


def check_type(wanted: object) -> None:
    """Refuse, before anything is sent for it, a type that no answer can be structured as.

    Raises:
        ConfigurationError: It cannot be; or cattrs is not installed, which it needs.
    """
    if not _is_model(wanted):
        _structuring(wanted)


def _structuring(wanted: object) -> Callable[[Any, Any], Any]:
    if wanted is None:
        raise ConfigurationError("no answer can be parsed as None: pass a type; json() takes JSON of any form")
    kind = type(wanted)
    if _is_model(kind) or _is_object(kind):
        raise ConfigurationError(f"no answer can be parsed as an object: pass the type {name_of(kind)} itself")
    converter = _converter()
    try:
        _check_parts(converter, wanted, "", set())
        structured: Callable[[Any, Any], Any] = converter.get_structure_hook(wanted)
    except Exception as error:
        raise ConfigurationError(f"no answer can be parsed as {name_of(wanted)}: {error!s:.500}") from error
    return structured


def _check_parts(converter: Any, wanted: Any, place: str, seen: set[Any]) -> None:
    """Refuse what no JSON is read as, wherever it stands in a type; ``place`` is the field, such as ``" @ Row.price"``.

    Cattrs itself looks into unions, sets and the like only when a value comes: its message was paid for by then.
    """
    kind = get_origin(wanted) or wanted
    if kind in (Any, object, Ellipsis, Literal, NoneType) or isinstance(kind, TypeVar):
        return
    if not _is_model(kind) and not _is_choice_of_models(wanted):
        for part in _parts(wanted):
            _check_parts(converter, part, place, seen)
        if kind not in seen:
            seen.add(kind)
            for part, name in _fields(converter, kind):
                _check_parts(converter, part, name and f" @ {kind.__name__}.{name}", seen)
    if kind not in _WRAPPERS and (reason := _unsupported(converter, wanted, place)):
        raise TypeError(reason)


def _parts(wanted: Any) -> list[Any]:
    """The types in the brackets of a type, between its bars, or that it is another name for."""
    parts = [*get_args(wanted)]
    if get_origin(wanted) is Annotated:
        return parts[:1]
    if get_origin(wanted) in _UNIONS:
        rest = [each for each in parts if each not in _PLAIN and each is not NoneType]
        if 1 < len(rest) < len(parts):  # cattrs reads them as one type, where a value is none of the plain ones
            parts.append(Union[tuple(rest)])  # noqa: UP007 - made of a list
    return parts


def _fields(converter: Any, kind: Any) -> Iterator[tuple[Any, str]]:
    """The types of a class's fields with their names, less those that are parameters: these stand in brackets."""
    for other in ("__supertype__", "__value__"):  # of a NewType, of a type alias
        if hasattr(kind, other):
            yield getattr(kind, other), ""
    if not _is_object(kind) and not hasattr(kind, "_fields"):
        return
    hints = get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {}
    if attrs.has(kind):
        fields = {each.name: each for each in attrs.fields(kind)}
    elif dataclasses.is_dataclass(kind):
        fields = {each.name: each for each in dataclasses.fields(kind)}
    for name, field in (fields or dict.fromkeys(hints)).items():
        part = hints.get(name, getattr(field, "type", Any))
        is_parameter = getattr(part, "__parameters__", ()) and not isinstance(part, type)
        is_own = any(
            hasattr(each, "struct_hook") for each in getattr(part, "__metadata__", ())
        )  # read by cattrs' override
        is_converted = getattr(field, "converter", None) and _unsupported(converter, part)
        if getattr(field, "init", True) and not (is_parameter or is_own or is_converted):
            yield part, name


def _unsupported(converter: Any, wanted: Any, place: str = "") -> str | None:
    """Why no JSON is read as a type, if none is."""
    from cattrs import StructureHandlerNotFoundError

    if wanted is bytes:  # which cattrs would decode in a way of its own
        return f"JSON has no bytes{place}: take str, and decode it as the worker has encoded it"
    try:
        converter.get_structure_hook(wanted)
    except StructureHandlerNotFoundError:
        if get_origin(wanted) in _UNIONS:
            return f"which of {name_of(wanted)} a value is cannot be told{place}: take one of them, or Any"
        return f"no JSON is read as {name_of(wanted)}{place}: take what JSON has, such as str, and convert it"
    except Exception as error:  # noqa: BLE001 - whatever cattrs says, such as of a name that is not defined
        return f"{error}{place}"
    return None


def name_of(wanted: object) -> str:
    """What a type is called in messages."""
    return wanted.__name__ if isinstance(wanted, type) else f"{wanted!s:.200}"


def _converter() -> Any:
    """A converter that takes JSON's plain values for what they are."""
    try:
        from cattrs.preconf.orjson import make_converter
    except ImportError:
        raise ConfigurationError(
            "TurnResult.parse needs cattrs for this type: pip install 'toolhouse-async[parse]'"
        ) from None
    converter = make_converter()
    for kind, accepted in _PLAIN.items():
        converter.register_structure_hook(kind, _exactly(accepted))
    converter.register_structure_hook_func(lambda wanted: wanted is object, lambda value, _: value)
    for kind in _TIMES:
        converter.register_structure_hook(kind, partial(_one_of, converter.get_structure_hook(kind)))
    _wrap(converter, lambda wanted: get_origin(wanted) in _UNIONS, _of_union)
    _wrap(converter, _is_array, partial(_of_kind, list))
    _wrap(converter, _is_object, partial(_of_kind, dict))
    converter.register_structure_hook_factory(_is_misjudged, partial(_judged_anew, converter))
    _wrap(converter, _allowed, _one_of)
    if not isinstance(converter.get_structure_hook(_Enumeration, cache_result=False), partial):  # pragma: no cover
        # Before version 26, cattrs takes what is registered for a class before what is for types of some sort. The
        # lowest versions are tested by themselves.
        converter.register_structure_hook(enum.Enum, partial(_one_of, _called))
    converter.register_structure_hook_func(_is_model, _modelled)
    converter.register_structure_hook_factory(_is_choice_of_models, _choosing)
    return converter


def _is_array(wanted: Any) -> bool:
    return wanted in _ARRAYS or get_origin(wanted) in _ARRAYS


def _is_object(wanted: Any) -> bool:
    kind = get_origin(wanted) or wanted
    if kind in _OBJECTS:
        return True
    return isinstance(kind, type) and (attrs.has(kind) or dataclasses.is_dataclass(kind) or is_typeddict(kind))


def _is_misjudged(wanted: Any) -> bool:
    """Whether it is a TypedDict whose class does not know which keys it requires, since its annotations are texts."""
    if not is_typeddict(wanted):
        return False
    origins = {name: get_origin(hint) for name, hint in get_type_hints(wanted, include_extras=True).items()}
    required = wanted.__required_keys__
    return any(origin is (NotRequired if name in required else Required) for name, origin in origins.items())


def _judged_anew(converter: Any, wanted: Any) -> Callable[[Any, Any], Any]:
    hints = get_type_hints(wanted, include_extras=True)
    for name, hint in hints.items():
        if get_origin(hint) not in (Required, NotRequired):
            hints[name] = Required[hint] if name in wanted.__required_keys__ else NotRequired[hint]
    judged = TypedDict(wanted.__name__, hints)  # type: ignore[misc] # whose annotations are types
    structured = converter.get_structure_hook(judged)
    return lambda value, _: structured(value, judged)


def _is_model(wanted: Any) -> bool:
    return isinstance(wanted, type) and hasattr(wanted, "model_validate")


def _is_choice_of_models(wanted: Any) -> bool:
    """Whether it is one of several types, some of which are models: pydantic knows then which one is meant."""
    choices = [each for each in get_args(wanted) if each is not type(None)]
    return get_origin(wanted) in _UNIONS and len(choices) > 1 and any(map(_is_model, choices))


def _choosing(wanted: Any) -> Callable[[Any, Any], Any]:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(wanted)  # which refuses what pydantic does not read
    return lambda value, _: _validated(value, adapter.validate_python, adapter.validate_json)


def _modelled(value: Any, wanted: Any) -> Any:
    return _validated(value, wanted.model_validate, wanted.model_validate_json)


def _validated(value: Any, of_python: Callable[[Any], Any], of_json: Callable[[str], Any]) -> Any:
    """What pydantic makes of a JSON value.

    A strict model takes a date, an enumeration and a tuple from JSON alone. That comes second: of JSON,
    pydantic makes bytes of a text where both would do.
    """
    try:
        return of_python(value)
    except ValueError:
        return of_json(json.dumps(value))


class _UnfitError(ValueError):
    """JSON of another kind than what is wanted is written as."""


def _wrap(converter: Any, is_such: Callable[[Any], object], check: Callable[[Any, Any, Any], Any]) -> None:
    """Have types of some sort be read by ``check(structured, value, wanted)``, the first of which is cattrs' way."""
    asking = set[Any]()

    def read(wanted: Any) -> Callable[[Any, Any], Any]:
        asking.add(wanted)
        try:
            structured = converter.get_structure_hook(wanted, cache_result=False)
        finally:
            asking.discard(wanted)
        return partial(check, structured)

    converter.register_structure_hook_factory(lambda wanted: wanted not in asking and is_such(wanted), read)


def _of_kind(kind: type, structured: Callable[[Any, Any], Any], value: Any, wanted: Any) -> Any:
    if type(value) is not kind:
        raise _UnfitError(f"expected {_JSON_NAMES[kind]}, got {_JSON_NAMES.get(type(value), 'a number')}")
    return structured(value, wanted)


def _one_of(structured: Callable[[Any, Any], Any], value: Any, wanted: Any) -> Any:
    try:
        return structured(value, wanted)
    except Exception as error:
        raise _unfit(value, wanted) from error


def _of_union(structured: Callable[[Any, Any], Any], value: Any, wanted: Any) -> Any:
    try:
        return structured(value, wanted)
    except TypeError as error:  # of cattrs itself: what the types within meet with comes in groups
        raise _unfit(value, wanted) from error


def _called(value: Any, wanted: Any) -> Any:
    return wanted(value)


class _Enumeration(enum.Enum):
    """Any enumeration, to see how they are read."""

    MEMBER = 0


def _allowed(wanted: Any) -> list[Any]:
    """The values that an enumeration or a ``Literal`` allows; none of another type."""
    members: Iterable[object] = ()
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        members = wanted
    elif get_origin(wanted) is Literal:
        members = get_args(wanted)
    return [each.value if isinstance(each, enum.Enum) else each for each in members]


def _unfit(value: Any, wanted: Any) -> _UnfitError:
    """The error that says which value does not fit, and what would."""
    if allowed := _allowed(wanted):
        return _UnfitError(f"{_written(value)} is none of {', '.join(map(_written, allowed)):.500}")
    form = f", such as {_TIMES[wanted]}" if wanted in _TIMES else ""
    return _UnfitError(f"expected {name_of(wanted)}{form}, got {_written(value)}")


def _written(value: Any) -> str:
    """A value in a message: as JSON writes it, arrays and objects by their kind alone, and of bounded length."""
    if isinstance(value, str):
        return json.dumps(value if len(value) <= 80 else f"{value[:80]}…", ensure_ascii=False)
    return json.dumps(value) if isinstance(value, bool) else _JSON_NAMES.get(type(value)) or short(value)


def _reason(error: BaseException, wanted: type | None) -> str:
    """Why a value does not fit, for people: pydantic says so itself, and so do checks in the user's classes."""
    from cattrs import StructureHandlerNotFoundError
    from cattrs.v import format_exception

    if isinstance(error, StructureHandlerNotFoundError):  # where a parameter of a class stands within another type
        raise ConfigurationError(f"no answer can be parsed as this type: {error!s:.500}") from error
    if isinstance(error, _UnfitError) or hasattr(error, "errors"):
        return str(error)
    # What the user's class says of a value; attrs' validators put what they checked behind their words.
    said = str(error.args[0]) if error.args else ""
    is_missing = isinstance(error, KeyError) and wanted is not None
    return format_exception(error, wanted) if is_missing or not said else said[:500]


def _exactly(accepted: tuple[type, ...]) -> Callable[[Any, Any], Any]:
    def check(value: Any, wanted: Any) -> Any:
        if type(value) not in accepted:
            raise _unfit(value, wanted)
        return _one_of(_called, value, wanted)  # an enumeration of strings comes here, too

    return check


def correction(wrong: str) -> str:
    """The message that asks a worker for its answer again, in the form that was wanted.

    Args:
        wrong: Why the answer could not be read; of pydantic's reasons without the links to its pages.
    """
    lines = [line for line in wrong.splitlines() if not line.strip().startswith("For further information visit")]
    reason = "\n".join(lines)
    return (
        "Your last answer could not be read as the JSON that was asked for. This is what is wrong with it:\n"
        f"{reason:.2000}\n"
        "Give the whole answer again, as JSON alone: no other words, and no code fence."
    )
