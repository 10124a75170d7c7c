from __future__ import annotations

import pytest

from toolhouse_async import EventDecoder, PollingPolicy, RecoveryPolicy
from toolhouse_async._turn.knowledge import Rules, Run
from toolhouse_async._turn.progress import Progress
from toolhouse_async._turn.table import TABLE, Signal, State
from toolhouse_async._values.options import Options

RULES = Rules(PollingPolicy(), RecoveryPolicy(), EventDecoder(), 1000)
STARTS = {State.SENDING, State.CHECKING, State.WAITING, State.FINDING, State.RECOVERING}
"""A turn starts by sending its message, or by finding out about the one before it; one from a token by waiting for its
job, and one without a message by finding out about the latest turn, or by recovering one of another process."""


def reachable(starts: set[State]) -> set[State]:
    found: set[State] = set()
    while new := starts - found:
        found |= new
        starts = {after for (before, _), after in TABLE.items() if before in found}
    return found


def test_every_state_is_reached() -> None:
    assert reachable(STARTS) == set(State)


@pytest.mark.parametrize("state", sorted(set(State) - {State.DONE}))
def test_every_state_can_end(state: State) -> None:
    assert State.DONE in reachable({state})


def test_done_is_the_end() -> None:
    assert [before for before, _ in TABLE if before is State.DONE] == []


def test_every_signal_means_something() -> None:
    assert {signal for _, signal in TABLE} == set(Signal)


@pytest.mark.parametrize("state", State)
def test_a_turn_goes_where_the_table_says_and_nowhere_else(state: State) -> None:
    for signal in Signal:
        progress = Progress("a", Run(), RULES, Options(), state=State.SENDING)
        progress.state = state
        if (state, signal) in TABLE:
            progress.go(signal)
            assert progress.state is TABLE[state, signal]
        else:
            with pytest.raises(KeyError, match=f"{state.name}.*{signal.name}"):
                progress.go(signal)


def test_a_message_is_sent_only_where_nothing_that_was_sent_before_it_is_of_unknown_fate() -> None:
    """Nothing that leaves a message's fate open leads straight back to sending it."""
    into_sending = {(before, signal) for (before, signal), after in TABLE.items() if after is State.SENDING}
    assert into_sending == {
        (State.CHECKING, Signal.ABSENT),
        (State.PROBING, Signal.NO_JOB),
        (State.WAITING, Signal.OVER),
        (State.SETTLING, Signal.WAITS),
        (State.HEALING, Signal.HEALED_RESUME),
        (State.RESUMING, Signal.ABSENT),
        (State.RECOVERING, Signal.HEALED_RESUME),
    }


def test_a_message_of_unknown_fate_is_first_found_out_about() -> None:
    assert TABLE[State.SENDING, Signal.LOST] is State.RESUMING
    for state, further in ((State.RESUMING, set()), (State.FINDING, {Signal.HEALED})):  # by a turn before it
        after = {signal: TABLE[state, signal] for signal in Signal if (state, signal) in TABLE}
        assert after.keys() == {Signal.JOB, Signal.ARRIVED, Signal.ABSENT} | further
        assert after[Signal.ARRIVED] is State.HEALING
    assert TABLE[State.WAITING, Signal.OVER_LOST] is State.FINDING
    assert TABLE[State.WAITING, Signal.OVER_UNSURE] is State.RESUMING


def test_a_running_job_is_waited_for_or_left_from_wherever_it_is_found() -> None:
    found = {before for before, signal in TABLE if signal is Signal.JOB}
    assert found == {
        State.PROBING, State.STREAMING, State.SETTLING, State.HEALING, State.RESUMING, State.FINDING, State.RECOVERING
    }  # fmt: skip
    assert {TABLE[state, Signal.JOB] for state in found} == {State.WAITING}
    assert {after for (_, signal), after in TABLE.items() if signal is Signal.LEFT} == {State.DONE}
