"""Tests of a turn as a machine; none needs an event loop."""
