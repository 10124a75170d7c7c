"""The places where batches are kept."""

from tests.support.stores import place, postgres_server, redis_server

__all__ = ["place", "postgres_server", "redis_server"]
