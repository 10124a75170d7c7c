"""The library's logger. It never sees a key or a message."""

import logging

log = logging.getLogger("toolhouse_async")
log.addHandler(logging.NullHandler())
