import json

import pytest

from toolhouse_async._cli.runs.transcript import as_json, as_markdown, as_text, last_words
from toolhouse_async._wire.history import parse_history

ENTRIES = [
    {"role": "user", "content": "Analyse\nthis"},
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "I look.\x1b[31m"},
            {"type": "tool_use", "id": "1", "name": "code", "input": {"a": "```"}},
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": "done\x07"},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "x", "is_error": True}]},
    {"role": "assistant", "content": ""},
    {"role": "\x1b]0;title", "content": {"shape": "new"}},
    {"role": "user", "content": [{"type": "text", "text": "in blocks"}]},
    "no object",
]
HISTORY = parse_history(json.dumps(ENTRIES).encode())


def test_each_entry_says_who_speaks_and_no_word_looks_like_that():
    assert "".join(as_text(HISTORY)) == (
        "user:\n  Analyse\n  this\n"
        "assistant:\n  I look.\\x1b[31m\n"
        '  tool call: code {"a":"```"}\n'
        "tool:\n  tool result: done\\x07\n"
        "user:\n  tool error: x\n"
        "assistant:\n"
        '\\x1b]0;title:\n  {"role":"\\u001b]0;title","content":{"shape":"new"}}\n'
        "user:\n  in blocks\n"
        "unknown:\n  no object\n"
    )


def test_a_document_keeps_words_as_they_were_written_and_tools_in_fences():
    written = "".join(as_markdown(HISTORY[:3]))
    assert written == (
        "## user\n\nAnalyse\nthis\n"
        "\n## assistant\n\nI look.\\x1b[31m\n"
        '\n````text\ntool call: code {"a":"```"}\n````\n'
        "\n## tool\n\n```text\ntool result: done\\x07\n```\n"
    )


def test_json_is_what_the_service_has_and_harmless():
    line = as_json(HISTORY)
    assert json.loads(line) == ENTRIES
    assert line.endswith("]\n")
    assert line.isascii()
    assert "\x1b" not in line


@pytest.mark.parametrize(("number", "words"), [(0, "Analyse this"), (4, ""), (2, "tool result: done\\x07")])
def test_the_last_words_are_one_line(number, words):
    assert last_words(HISTORY[number]) == words
    assert len(last_words(HISTORY[1], 40)) <= 40
