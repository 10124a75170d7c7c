"""A hub on a Redis server, for any number of processes."""
