"""The examples of README.md and the documentation, run."""
