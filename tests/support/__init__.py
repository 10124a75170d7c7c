"""What the tests share: a loop with virtual time, a raw-socket server, guards against leaks."""
