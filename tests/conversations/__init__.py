"""Whole conversations with the public API, against the emulator and against servers that answer byte for byte."""
