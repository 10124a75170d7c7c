"""Tests of what runs the checks."""
