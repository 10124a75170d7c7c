"""What the chat asks of its user."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from toolhouse_async._cli.conversation.interrupting import Interrupts
from toolhouse_async._cli.conversation.prompt import Prompt

REAL_TIME = True


@pytest.mark.parametrize("by_default", [True, False])
@pytest.mark.parametrize(("typed", "agrees"), [("", None), ("y", True), ("Yes", True), ("n", False), ("what", False)])
async def test_enter_is_the_default_of_a_question(
    typed: str, agrees: bool | None, by_default: bool, tmp_path: Path
) -> None:
    with create_pipe_input() as terminal, create_app_session(input=terminal, output=DummyOutput()):
        terminal.send_text(f"{typed}\r")
        prompt = Prompt(tmp_path / "history", Interrupts())
        assert await prompt.agrees("Again?", by_default=by_default) is (by_default if agrees is None else agrees)


async def test_a_question_that_is_left_is_a_no(tmp_path: Path) -> None:
    with create_pipe_input() as terminal, create_app_session(input=terminal, output=DummyOutput()):
        terminal.send_text("\x04")
        assert not await Prompt(tmp_path / "history", Interrupts()).agrees("Again?")
