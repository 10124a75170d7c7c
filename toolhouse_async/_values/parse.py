"""Structuring JSON into the user's types; kept apart since it needs packages that only some users have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from ..errors import ConfigurationError

T = TypeVar("T")

_PLAIN: Final[dict[type, tuple[type, ...]]] = {str: (str,), int: (int,), float: (float, int), bool: (bool,)}
"""What JSON may hold where such a type is wanted: cattrs itself would turn ``null`` into ``"None"``."""


def structure(value: Any, wanted: type[T]) -> T:
    """Structure a JSON value as ``wanted``; see :meth:`toolhouse_async.TurnResult.parse`."""
    validate = getattr(wanted, "model_validate", None)
    if validate is not None:
        model: T = validate(value)  # pydantic's ValidationError is a ValueError
        return model
    converter = _converter()
    try:
        return converter.structure(value, wanted)  # type: ignore[no-any-return]
    except Exception as error:
        from cattrs import transform_error

        reasons = "; ".join(transform_error(error))
        raise ValueError(f"the worker's JSON does not fit {name_of(wanted)}: {reasons:.2000}") from error


def check_type(wanted: object) -> None:
    """Refuse, before anything is sent for it, a type that no answer can be structured as.

    Raises:
        ConfigurationError: It cannot be; or cattrs is not installed, which it needs.
    """
    if hasattr(wanted, "model_validate"):
        return
    converter = _converter()
    try:
        converter.get_structure_hook(wanted)
    except Exception as error:
        raise ConfigurationError(f"no answer can be parsed as {name_of(wanted)}: {error!s:.500}") from error


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
    return converter


def _exactly(accepted: tuple[type, ...]) -> Callable[[Any, Any], Any]:
    def check(value: Any, wanted: Any) -> Any:
        if type(value) not in accepted:
            raise ValueError(f"a {type(value).__name__}")
        return wanted(value)  # an enumeration of strings is wanted by this way, too

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
