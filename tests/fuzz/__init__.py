"""Answers changed byte by byte."""
