"""What must be true of a cancelled awaitable, and of the session behind it."""

from __future__ import annotations

from collections import Counter

from toolhouse_async import StreamInterruptedError

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


async def go_on(scenario: Scenario, case: Case, outcome: Outcome, *, settles: bool) -> None:
    """The session can go on: the next message is answered, also without finding out what became of the last."""
    case.calm()
    session = case.session
    if case.turn is not None and case.turn.headers:
        assert session.run_id is not None
    if session.run_id is not None and (settles or not scenario.sends):
        await settle(scenario, case, outcome)
    assert (await session.send(NEXT)).text == answer_to(NEXT)
    again = await session.reconcile()
    assert again is not None
    assert again.text == answer_to(NEXT)
    assert case.heard.count(NEXT) == 1


async def settle(scenario: Scenario, case: Case, outcome: Outcome) -> None:
    """The answer to the message comes back, or as much as is there of it; or it truly did not arrive."""
    try:
        settled = await case.session.reconcile()
    except StreamInterruptedError as error:
        interruption = error
    else:
        interruption = None
    if interruption is not None:  # its job is over, and nobody has resumed
        assert interruption.safe_to_retry is False
        assert case.heard.count(WORDS) == 1
        return
    if settled is not None and settled.status == "background":
        assert answer_to(WORDS).startswith(settled.text)  # it was left to its job, and nobody has waited to the end
        assert case.heard.count(WORDS) == 1
    elif settled is not None and WORDS in case.heard:
        assert settled.text == answer_to(WORDS), (settled, case.heard)
        assert case.heard.count(WORDS) == 1
    elif settled is not None:
        assert settled.text == answer_to(case.heard[-1])  # the turn was ended before it began
    elif scenario.sends and outcome.value is None:
        assert WORDS not in case.heard


def was_told_once(case: Case) -> None:
    """No message was accepted twice, and every job was resumed once at most."""
    told = Counter(case.heard)
    assert told.pop("", 0) <= told.get(WORDS, 0), case.heard
    assert not [message for message, times in told.items() if times > 1], case.heard
