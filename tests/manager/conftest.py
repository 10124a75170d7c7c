"""The places where sessions are kept."""

from tests.support.stores import place, redis_server

__all__ = ["place", "redis_server"]
