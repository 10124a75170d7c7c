"""``toolhouse-async mcp``: workers as tools of the Model Context Protocol; the extra ``[mcp]``.

``workers`` reads what the command line names, ``wording`` says what models read; these are pure. ``conversations``
talks to the workers, ``tools`` is the protocol's server, and ``serving`` gives it stdin and stdout, or a port.
"""
