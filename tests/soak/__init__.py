"""Thousands of turns at once through a network that breaks."""
