"""A session and a simple model of the Workers API, step by step."""
