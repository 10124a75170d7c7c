import json

from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async import events as ev
from toolhouse_async._cli.jsonlines import event_line


@given(st.text())
def test_text_comes_back_and_nothing_reaches_a_terminal(text):
    line = event_line(ev.TextDelta(text, line=b"x"))
    assert json.loads(line) == {"event": "TextDelta", "text": text}
    assert line.endswith("\n")
    assert not [c for c in line[:-1] if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2028"]
