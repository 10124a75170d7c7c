"""Attacks: what the page on security claims, tried."""
