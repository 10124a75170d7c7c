"""``toolhouse-async chat``: a conversation in the terminal."""
