"""A real nginx between the client and the Workers API."""
