import json

import pytest

from toolhouse_async._cli.runs.standing import MEANINGS, Next, next_of
from toolhouse_async._wire.history import parse_history

USER = {"role": "user", "content": "Hello"}
WORDS = {"role": "assistant", "content": "Hello"}
CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "code", "input": {}}]}
WORDS_AND_CALL = {"role": "assistant", "content": [{"type": "text", "text": "Wait."}, *CALL["content"]]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "42"}
RESULT_OF_USER = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "42"}]}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], Next.USER),
        ([USER], Next.WORKER),
        ([USER, WORDS], Next.USER),
        ([USER, CALL], Next.WORKER),
        ([USER, WORDS_AND_CALL], Next.WORKER),
        ([USER, CALL, RESULT], Next.RESUME),
        ([USER, CALL, RESULT_OF_USER], Next.RESUME),
        ([USER, CALL, RESULT, WORDS], Next.USER),
        ([USER, WORDS, USER], Next.WORKER),
        ([USER, {"role": "assistant", "content": ""}], Next.USER),
    ],
)
def test_the_last_entry_says_who_is_next(entries, expected):
    history = parse_history(json.dumps(entries).encode())
    assert next_of(history, running=False) is expected
    assert next_of(history, running=True) is Next.JOB


def test_each_has_its_words():
    assert list(MEANINGS) == list(Next)
