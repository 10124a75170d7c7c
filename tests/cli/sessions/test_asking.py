"""What an operator is asked on a terminal."""

import pytest

from tests.cli.support import COMMAND, environment
from tests.support.screen import Terminal


@pytest.mark.parametrize(
    ("command", "question", "then"),
    [
        ("unlock", "Take it from box:\\x1b[31m7, which is gone for certain? [y/N]: ", "unlocked"),
        ("forget", "Forget chat:1 of worker analyst? Nobody will get the answer of its open job. [y/N]: ", "forgotten"),
    ],
)
@pytest.mark.parametrize("key", ["y\r", "n\r", "\r", "\x03"])
def test_it_is_done_only_if_they_say_yes(use, hold, path, sessions, command, question, then, key):
    use("analyst", "chat:1")
    if command == "unlock":
        hold("analyst", "chat:1")
    before = sessions("list", "--json").stdout.count("chat:1"), sessions("list").stdout.split()[8]
    words = [*COMMAND, "sessions", "--store", str(path), command, "chat:1"]
    with Terminal(words, environment(), 120) as terminal:
        terminal.until(question.rstrip())
        terminal.type(key)
        status = terminal.ended()
        shown = terminal.screen.text
    after = sessions("list", "--json").stdout.count("chat:1"), sessions("list").stdout.split()[8:9]
    if key == "y\r":
        assert status == 0
        assert then in shown
        assert after == ((0, []) if command == "forget" else (1, ["job"]))
    else:
        assert status == (130 if key == "\x03" else 1)
        assert after == (before[0], [before[1]])
