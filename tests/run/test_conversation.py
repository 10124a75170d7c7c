from __future__ import annotations

import pytest

from tests.support.answers import KEY, client_of, history
from tests.support.raw_server import RawServer
from toolhouse_async import AsyncToolhouse, ClosedError, ConfigurationError, ProtocolError, ToolhouseError
from toolhouse_async._run.conversation import Conversation, Extras
from toolhouse_async._turn.reading import Sight
from toolhouse_async._turn.table import State
from toolhouse_async._values.options import Options


def conversation(run_id: str | None = None, toolhouse: AsyncToolhouse | None = None) -> Conversation:
    core = (toolhouse or AsyncToolhouse(KEY))._core
    core.check_usable()
    return Conversation(core, "a", run_id, Extras("u1"))


def test_fields_that_are_set() -> None:
    assert Extras().fields() == {}
    variables = {"a": 1}
    fields = Extras("", variables, "b").fields()
    assert fields == {"toolhouse_id": "", "vars": {"a": 1}, "bundle": "b"}
    assert fields["vars"] is not variables


@pytest.mark.parametrize("bad", [{"toolhouse_id": 1}, {"bundle": b"x"}, {"vars": []}, {"vars": 7}])
def test_fields_of_the_wrong_type(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(bad))} must be "):
        Extras(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [{"toolhouse_id": "\ud800"}, {"bundle": "\ud800"}, {"vars": {"a": object()}}])
def test_fields_that_json_does_not_have(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(bad))} "):
        Extras(**bad)  # type: ignore[arg-type]


async def test_its_ids() -> None:
    one = conversation()
    assert (one.run_id, one.run.has_begun) == (None, False)
    with pytest.raises(ProtocolError, match="X-Toolhouse-Run-ID"):
        one.known_run_id()
    for ask in (one.read, one.history):
        with pytest.raises(ProtocolError, match="X-Toolhouse-Run-ID"):
            await ask()
    one.run.run_id = "r1"
    assert (one.run_id, one.known_run_id(), one.run.has_begun) == ("r1", "r1", True)
    one.begin_anew()
    assert one.run_id is None


async def test_sessions_on_a_run_share_it() -> None:
    one = conversation("r1")
    two = Conversation(one.core, "a", "r1", Extras())
    assert one.shared is two.shared
    assert one.run is two.run
    assert (one.run.begun, one.run.transcript.counted(None)) == (None, (None, ()))
    three = Conversation(one.core, "a", None, Extras())
    assert three.run is not one.run
    assert three.go_on_with("r1") is one.run
    assert three.shared is one.shared
    with pytest.raises(ConfigurationError):
        Conversation(one.core, "a", "../x", Extras())


async def test_a_turn_has_what_goes_with_its_messages() -> None:
    one = conversation("r1")
    machine = one.turn(Options(), message="x")
    machine.begin(0)
    machine.entered(0)
    assert machine.progress.todo[2:] == ({"message": "x", "toolhouse_id": "u1"}, "r1", False)
    waiting = one.turn(Options(), state=State.WAITING)
    assert (waiting.progress.run, waiting.progress.polling) == (one.run, one.core.rules.polling)


async def test_a_reading_of_the_users_own_counts_like_any_other() -> None:
    entries = [("user", "x"), ("assistant", "y")]
    async with RawServer([history(*entries)] * 2) as server, client_of(server) as toolhouse:
        one = conversation("r1", toolhouse)
        read = await one.history()
        transcript = one.run.transcript
        said = transcript.say("z")
        assert transcript.find(read, said, "").sight is Sight.ABSENT
        assert (await one.read()).history == tuple(read)


class Turn:
    """An open turn that notes how it was ended."""

    def __init__(self) -> None:
        self.ended: list[ToolhouseError] = []

    def interrupt(self, error: ToolhouseError) -> None:
        self.ended.append(error)


async def test_closing_ends_its_open_turns() -> None:
    one, turn = conversation(), Turn()
    one.check_open()
    one.open_turns.add(turn)
    one.close()
    one.open_turns.clear()
    one.close()  # once more
    assert [type(error) for error in turn.ended] == [ClosedError]
    with pytest.raises(ClosedError):
        one.check_open()
