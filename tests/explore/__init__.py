"""Plays the real client against every sequence of a service's faults, and holds what it says to the truth."""
