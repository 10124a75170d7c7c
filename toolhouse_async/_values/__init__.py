"""Plain values: what users set, give and are given, and how it is written."""
