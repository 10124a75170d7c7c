"""Tests of the pure protocol code: no event loop, socket or clock."""
