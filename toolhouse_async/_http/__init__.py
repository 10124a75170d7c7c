"""All that is HTTP's: what the rest may know of it is in ``port``, what an HTTP library must do in ``library``."""
