from __future__ import annotations

import pytest
from toolhouse_async._conversation import Conversation, Extras

from tests.support.answers import KEY
from toolhouse_async import AsyncToolhouse, ConfigurationError, Message, ProtocolError
from toolhouse_async._run import Uncertain


def conversation(run_id: str | None = None) -> Conversation:
    core = AsyncToolhouse(KEY)._core
    core.check_usable()
    return Conversation(core, "a", run_id, Extras())


def test_fields_that_are_set() -> None:
    assert Extras().fields() == {}
    variables = {"a": 1}
    fields = Extras("", variables, "b").fields()
    assert fields == {"toolhouse_id": "", "vars": {"a": 1}, "bundle": "b"}
    assert fields["vars"] is not variables


@pytest.mark.parametrize("bad", [{"toolhouse_id": 1}, {"bundle": b"x"}, {"vars": []}, {"vars": 7}])
def test_fields_of_the_wrong_type(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        Extras(**bad)  # type: ignore[arg-type]


async def test_its_ids() -> None:
    one = conversation()
    with pytest.raises(ProtocolError):
        one.known_run_id()
    one.answered(None)
    assert one.run_id is None
    one.answered("r1")
    begun = one.run.begun
    assert (one.known_run_id(), begun is not None) == ("r1", True)
    one.answered(None)
    one.answered("r1")
    one.answered("r2")
    assert one.run_id == "r2"
    assert one.run.begun == begun
    for run_id in ("r1", "r2"):
        assert one.core.run_of("a", run_id) is one.run


async def test_sessions_on_a_run_share_it() -> None:
    one = conversation("r1")
    two = Conversation(one.core, "a", "r1", Extras())
    assert one.run is two.run
    assert one.run.begun is None
    with pytest.raises(ConfigurationError):
        Conversation(one.core, "a", "../x", Extras())


async def test_where_an_answer_will_stand() -> None:
    history = [Message("user", "x", {}), Message("assistant", "y", {})]
    one = conversation()
    place = one.place_of("x", None)
    assert (place.words, place.length, place.repeated) == ("x", 0, False)
    one.answered("r1")
    one.run.said("x")
    assert one.place_of("x", None).repeated is True
    assert one.place_of("z", None).repeated is False
    place = one.place_of("z", history)
    assert (place.length, place.last) == (2, history[1])
    assert one.place_of("z", []).length is None  # it lags: what was said is not in it
    one.run.uncertain = Uncertain(place, 0.0, bars=False)
    assert one.place_of("z", history)[3:] == (True, None)  # nobody knows whether it was said before
    assert one.place_of("x", history)[3:] == (True, 1)
    assert conversation("r9").place_of("z", [])[1:3] == (0, None)
    assert conversation("r9").place_of("z", None).repeated is True  # others may have said it
