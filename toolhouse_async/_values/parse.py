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
    try:
        from cattrs import transform_error
        from cattrs.preconf.orjson import make_converter
    except ImportError:
        raise ConfigurationError(
            "TurnResult.parse needs cattrs for this type: pip install 'toolhouse-async[parse]'"
        ) from None
    converter = make_converter()
    for kind, accepted in _PLAIN.items():
        converter.register_structure_hook(kind, _exactly(accepted))
    try:
        return converter.structure(value, wanted)
    except Exception as error:
        reasons = "; ".join(transform_error(error))
        name = getattr(wanted, "__name__", wanted)
        raise ValueError(f"the worker's JSON does not fit {name}: {reasons:.2000}") from error


def _exactly(accepted: tuple[type, ...]) -> Callable[[Any, Any], Any]:
    def check(value: Any, wanted: Any) -> Any:
        if type(value) not in accepted:
            raise ValueError(f"a {type(value).__name__}")
        return wanted(value)  # an enumeration of strings is wanted by this way, too

    return check
