"""The version, as ``pyproject.toml`` has it: asking the package's metadata would take a fifth of the import."""

__version__ = "0.1.0"
