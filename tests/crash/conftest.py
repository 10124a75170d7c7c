"""The servers that processes keep their sessions on."""

from tests.support.stores import postgres_server, redis_server

__all__ = ["postgres_server", "redis_server"]
