"""The servers of the page on web frameworks, each with a real server around it."""
