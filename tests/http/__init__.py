"""Tests of what is HTTP's."""
