import io
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from toolhouse_async import events as ev
from toolhouse_async._cli.view import TurnView

any_text = st.text(st.characters(exclude_categories=()))
any_event = st.one_of(
    st.builds(ev.TextDelta, any_text),
    st.builds(ev.ToolCall, st.none(), any_text, st.dictionaries(any_text, any_text | st.lists(any_text))),
    st.builds(ev.ToolResult, st.none(), st.none() | any_text, any_text, st.booleans()),
    st.builds(ev.ErrorEvent, any_text),
    st.builds(ev.UnknownEvent, any_text, any_text),
    st.builds(ev.MalformedLine, st.binary(), st.integers(), any_text),
    st.builds(ev.JobStarted, any_text),
    st.builds(ev.JobProgress, any_text, st.just(1.0), st.just(2), st.just(1.0)),
    st.builds(ev.JobFinished, any_text, st.just(1.0), st.just(1)),
    st.builds(ev.TurnResumed, any_text, st.just(1)),
    st.builds(ev.StreamRecovered, any_text, any_text),
)


def show(*events, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False, markup=False)
    with TurnView(console) as view:
        for event in events:
            view.show(event)
    return console.file.getvalue()


@given(st.lists(any_event, max_size=6))
def test_whatever_a_worker_sends_no_control_character_is_printed(events):
    text = show(*events)
    assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"]
    assert not text or text.endswith("\n")


def test_an_error_of_the_worker_is_left_to_the_error_that_ends_the_turn():
    assert show(ev.TextDelta("Half of"), ev.ErrorEvent("worker broke", "E42")) == "Half of\n"


def test_words_are_joined_and_broken_between_words():
    words = [ev.TextDelta(w) for w in ("Pen", "guins ", "are ", "birds that swim", " rather than fly.")]
    assert show(*words, width=20) == "Penguins are birds \nthat swim rather \nthan fly.\n"


def test_a_job_is_told_in_plain_lines_where_there_is_no_terminal():
    text = show(
        ev.TextDelta("Wait."),
        ev.ToolCall("1", "code_interpreter", {"path": "a.csv", "options": []}),
        ev.JobStarted("j1"),
        ev.JobProgress("j1", 1.25, 1, 1.0),
        ev.JobFinished("j1", 2.3, 2),
        ev.TurnResumed("r1", 1),
        ev.ToolResult("1", "code_interpreter", {"rows": 3, "columns": [1, 2]}),
        ev.TextDelta("Done."),
    )
    lines = [line.split(None, 1)[-1].rstrip() for line in text.splitlines()]
    assert lines == [
        "Wait.",
        "code_interpreter path='a.csv', options[0]",
        "job j1 runs in the background",
        "still running after 1.2 s; 1 poll, next in 1.0 s",
        "job over after 2.3 s and 2 polls",
        "resumed (round 1)",
        "code_interpreter: rows=3, columns[2]",
        "Done.",
    ]


CUT = "  @ the connection was cut; the answer is completed from the history\n"


def test_an_answer_that_was_cut_and_healed_is_told():
    cut = ev.TextDelta("Half of ")
    healed = show(cut, ev.StreamRecovered("Half of it.", "it."), ev.TextDelta("it.")).replace("↻", "@")
    assert healed == f"Half of \n{CUT}it.\n"
    assert show(cut, ev.StreamRecovered("Half of ", "")).replace("↻", "@") == f"Half of \n{CUT}"


def test_where_the_history_has_other_words_they_are_shown_whole():
    events = [
        ev.TextDelta("First. "),
        ev.TurnResumed("r", 1),
        ev.TextDelta("Half of "),
        ev.StreamRecovered("Other.", ""),
    ]
    assert show(*events).replace("↻", "@").endswith(f"Half of \n{CUT}Other.\n")


def test_on_a_terminal_a_running_job_has_a_live_line_that_goes_away():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, markup=False, color_system=None)
    with TurnView(console) as view:
        view.show(ev.JobStarted("j1"))
        view.show(ev.JobProgress("j1", 1.0, 1, 2.0))
        view.show(ev.JobFinished("j1", 3.0, 2))
    text = console.file.getvalue()
    assert " s  1 poll, next in " in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is back
    assert text.rstrip().endswith("job over after 3.0 s and 2 polls")
