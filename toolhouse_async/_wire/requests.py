"""What goes out: paths and bodies of the Workers API's calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from ..errors import ConfigurationError
from .writing import dumps

Format: TypeAlias = Literal["ndjson", "text"]


class Request(NamedTuple):
    """One HTTP request, without the key.

    Attributes:
        method: ``POST`` starts a run, ``PUT`` continues it, ``GET`` reads it.
        path: The URL's path under the base URL.
        body: The JSON body, ``None`` for none.
        run_id: The conversation, where known.
    """

    method: Literal["GET", "POST", "PUT"]
    path: str
    body: bytes | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def read(agent_id: str, run_id: str) -> Request:
    """The GET of a run: its history, and whether a job is running."""
    return Request("GET", f"/{agent_id}/{run_id}", None, run_id)


def send(agent_id: str, run_id: str | None, format: Format, fields: Mapping[str, Any]) -> Request:  # noqa: A002
    """The request that starts a run (no run id yet) or continues it.

    Raises:
        ConfigurationError: ``fields`` cannot be written as JSON.
    """
    try:
        body = dumps(fields) if fields else None
    except ValueError as error:
        raise ConfigurationError(f"the body of the message {error}") from None
    family = "/ndjson" if format == "ndjson" else ""
    if run_id is None:
        return Request("POST", f"{family}/{agent_id}", body)
    return Request("PUT", f"{family}/{agent_id}/{run_id}", body, run_id)
