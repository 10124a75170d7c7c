"""Every public awaitable, cancelled wherever it can be."""
