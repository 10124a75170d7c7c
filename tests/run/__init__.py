"""Tests of what the turns on one run share."""
