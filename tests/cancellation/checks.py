"""What must be true of a cancelled awaitable, and of the session behind it."""

from __future__ import annotations

from collections import Counter

from toolhouse_async import OutcomeUnknownError

from .stepping import PROMPT, Outcome
from .world import NEXT, WORDS, Case, Scenario, answer_to


def judge(scenario: Scenario, outcome: Outcome) -> None:
    """The cancellation came out at once, or it was too late."""
    if outcome.propagated:
        assert outcome.was_cancelled
        assert outcome.delay <= PROMPT
        return
    kind = None if outcome.error is None else type(outcome.error)
    assert kind is scenario.expected, outcome


async def go_on(scenario: Scenario, case: Case) -> None:
    """The next message is answered; or refused truthfully, until the earlier one is settled."""
    case.calm()
    session, turn = case.session, case.turn
    was_answered = turn is not None and bool(turn.headers)
    had_run = session.run_id is not None
    if was_answered:
        assert had_run
    refusal: OutcomeUnknownError | None = None
    try:
        result = await session.send(NEXT)
    except OutcomeUnknownError as error:
        refusal = error
    if refusal is not None:
        assert refusal.safe_to_retry is False
        assert not was_answered
        assert case.heard.count(WORDS) == 1
        settled = await session.reconcile()
        assert settled is not None
        assert settled.text == answer_to(WORDS)
        result = await session.send(NEXT)
    elif scenario.sends and had_run and not was_answered:
        assert WORDS not in case.heard
    assert result.text == answer_to(NEXT)
    assert await session.reconcile() is None
    assert case.heard.count(NEXT) == 1


def was_told_once(case: Case) -> None:
    """No message was accepted twice, and every job was resumed once at most."""
    told = Counter(case.heard)
    assert told.pop("", 0) <= told.get(WORDS, 0), case.heard
    assert not [message for message, times in told.items() if times > 1], case.heard
