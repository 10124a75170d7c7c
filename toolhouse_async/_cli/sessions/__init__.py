"""``toolhouse-async sessions``: the keys that a store holds."""
