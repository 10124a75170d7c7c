"""The version, which stands here alone: asking the package's metadata for it would take a fifth of the import."""

__version__ = "1.0.0rc1"
