import io
import sys

from toolhouse_async import events as ev
from toolhouse_async._cli.words import Words
from toolhouse_async._values.results import TurnResult


def shown(monkeypatch, *events):
    """What is written, in order, where stdout and stderr are two files of which one reader shows both."""
    both = io.StringIO()
    monkeypatch.setattr(sys, "stdout", both)
    monkeypatch.setattr(sys, "stderr", both)
    words = Words()
    for event in events:
        words(event)
    return both.getvalue()


def test_an_answer_is_over_before_its_last_notice(monkeypatch):
    over = ev.TurnCompleted(TurnResult("echo", "run-1", "Hello"))
    assert shown(monkeypatch, ev.TextDelta("Hello"), over) == "Hello\n[run id: run-1]\n"


def test_an_answer_that_is_empty_is_told(monkeypatch):
    over = ev.TurnCompleted(TurnResult("echo", "run-1", ""))
    assert shown(monkeypatch, over) == "[the answer has no text]\n[run id: run-1]\n"


def test_no_notice_breaks_a_line_of_the_answer(monkeypatch):
    events = ev.TextDelta("Hel"), ev.JobStarted("job-1"), ev.TextDelta("lo")
    assert shown(monkeypatch, *events) == "Hel[job job-1 runs in the background]\nlo"
