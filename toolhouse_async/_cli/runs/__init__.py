"""``toolhouse-async history``, ``status``, ``wait`` and ``reconcile``: what became of a conversation."""
