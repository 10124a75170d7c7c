"""The endpoint, made of what its users give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from ..._client import AsyncToolhouse
from ...errors import ConfigurationError
from ...manager import SessionManager
from .asgi import Application
from .serving import Gateway

__all__ = ["openai_gateway"]

Managers: TypeAlias = SessionManager | Mapping[str, SessionManager]


def openai_gateway(
    toolhouse: AsyncToolhouse,
    *,
    models: Mapping[str, str],
    manager: Managers | None = None,
    api_key: str | None = None,
) -> Application:
    """Make an endpoint that OpenAI's clients can talk to, with workers as its models.

    It has ``GET /v1/models``, ``POST /v1/responses`` and ``POST /v1/chat/completions``, each streamed or not, and is
    served by any ASGI server, or mounted in an application under any path. A worker keeps its conversation, so only
    what is new is sent: a response's id names its run, and ``previous_response_id`` goes on with it. Chat completions
    have no such id; they are new runs that are told all messages, unless a manager keeps the conversation.

    A message that may have been accepted is never sent again by the doing of the client's library: such failures have
    a status that OpenAI's package does not repeat. A client that leaves ends its turn, as with :func:`sse`.

    Args:
        toolhouse: The client. It must outlive the endpoint, which does not close it.
        models: The id or URL of a worker for each name of a model.
        manager: What keeps conversations by keys of the clients, for the models of its worker; or one for each name of
            a model. The key is the header ``x-conversation-id``, or else ``user`` of a chat completion, or
            ``conversation`` of a response. Default: no keys.
        api_key: What clients must send as ``Authorization: Bearer``; ``None`` lets everybody in.

    Returns:
        The ASGI application.

    Raises:
        ConfigurationError: An argument is wrong.
        ClosedError: The client is closed.
    """
    if api_key is not None and (not isinstance(api_key, str) or not api_key):
        raise ConfigurationError("api_key must be a string that is not empty, or None")
    if not isinstance(toolhouse, AsyncToolhouse):
        raise ConfigurationError(f"toolhouse must be an AsyncToolhouse, not {type(toolhouse).__name__}")
    if not isinstance(models, Mapping):
        raise ConfigurationError(f"models must be a mapping of names to workers, not {type(models).__name__}")
    agents: dict[str, str] = {}
    for name, agent_id in models.items():
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"a model's name must be a string that is not empty, not {name!r:.80}")
        agents[name] = toolhouse.session(agent_id).agent_id
    if not agents:
        raise ConfigurationError("models must name at least one worker")
    return Gateway(toolhouse, agents, _managers(manager, agents), api_key)


def _managers(manager: Managers | None, agents: Mapping[str, str]) -> dict[str, SessionManager]:
    """The manager of each model that has one."""
    if manager is None:
        return {}
    if isinstance(manager, SessionManager):
        found = {name: manager for name, agent_id in agents.items() if agent_id == _agent_of(manager)}
        if not found:
            raise ConfigurationError(f"no model is the worker of the manager, {_agent_of(manager)}")
        return found
    if not isinstance(manager, Mapping):
        raise ConfigurationError(f"manager must be a SessionManager or several by models, not {type(manager).__name__}")
    for name, each in manager.items():
        if not isinstance(each, SessionManager):
            raise ConfigurationError(f"manager must be a SessionManager or several by models, not {each!r:.80}")
        if agents.get(name) != _agent_of(each):
            raise ConfigurationError(f"there is no model {name!r:.80} of the manager's worker, {_agent_of(each)}")
    return dict(manager)


def _agent_of(manager: SessionManager) -> str:
    return manager._agent_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
