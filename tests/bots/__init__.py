"""The bots of the documentation, each with its platform's own library, on loopback platforms."""
