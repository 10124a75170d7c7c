"""No message is accepted twice, and what a cut took away comes back or is told of truthfully."""
