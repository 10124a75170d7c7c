"""The documentation's drawings, looked at in a browser."""
