"""Structuring JSON into the user's types; kept apart since it needs packages that only some users have."""

from __future__ import annotations

from typing import Any, TypeVar

from .errors import ConfigurationError

T = TypeVar("T")


def structure(value: Any, wanted: type[T]) -> T:
    """Structure a JSON value as ``wanted``; see :meth:`toolhouse_async.TurnResult.parse`."""
    validate = getattr(wanted, "model_validate", None)
    if validate is not None:
        model: T = validate(value)  # pydantic's ValidationError is a ValueError
        return model
    try:
        import cattrs
    except ImportError:
        raise ConfigurationError(
            "TurnResult.parse needs cattrs for this type: pip install 'toolhouse-async[parse]'"
        ) from None
    converter = cattrs.Converter(forbid_extra_keys=False)
    try:
        return converter.structure(value, wanted)
    except Exception as error:
        reasons = "; ".join(cattrs.transform_error(error))
        raise ValueError(f"the worker's JSON does not fit {wanted.__name__}: {reasons}") from error
