"""The Workers API as pure code: bytes and values in, values out; no socket, clock, randomness or logging."""
