"""One turn as pure code: it is told what happened and what time it is, and says what to do next."""
