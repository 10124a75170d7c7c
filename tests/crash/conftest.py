"""The server that processes keep their sessions on."""

from tests.support.stores import redis_server

__all__ = ["redis_server"]
