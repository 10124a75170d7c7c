from __future__ import annotations

from toolhouse_async import ConflictError, Message
from toolhouse_async._turn.conflicts import Conflicts
from toolhouse_async._wire.pauses import CONFLICT_PAUSES


def history(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("assistant", text, {}) for text in texts)


def conflicts() -> Conflicts:
    return Conflicts(ConflictError("busy", status=409))


def test_a_few_are_borne_with_longer_and_longer_pauses() -> None:
    several = conflicts()
    pauses = [several.pause((), now, None) for now in range(len(CONFLICT_PAUSES) + 1)]
    assert pauses == [*CONFLICT_PAUSES, None]
    assert not several.grew


def test_one_behind_which_the_worker_spoke_does_not_count() -> None:
    several = conflicts()
    for now in range(20):
        assert several.pause(history("x" * now), now, None) == CONFLICT_PAUSES[0]
        assert several.grew is (now > 0)
    assert several.pause(history("x" * 19, ""), 20, None) == CONFLICT_PAUSES[0]
    assert several.pause(history("x" * 19, ""), 21, None) == CONFLICT_PAUSES[1]
    assert not several.grew


def test_a_worker_who_speaks_for_ever_is_not_waited_for_that_long() -> None:
    several = conflicts()
    pauses = [several.pause(history("x" * now), now, 10) for now in range(9 + len(CONFLICT_PAUSES))]
    assert None not in pauses
    assert several.pause(history("x" * 99), 99, 10) is None


def test_words_of_the_workers_make_up_for_one_refusal() -> None:
    several = conflicts()
    assert not several.grew
    pauses = [several.pause(history("x" * many), now, None) for now, many in enumerate((1, 1, 1, 2, 2))]
    assert pauses == [0.5, 1.0, 2.0, 2.0, 4.0]


def test_until_when_a_worker_is_waited_for_counts_from_the_first_refusal() -> None:
    several = conflicts()
    for many, now in enumerate((100, 105, 109)):
        assert several.pause(history("x" * many), now, 10) == CONFLICT_PAUSES[0]
    assert several.pause(history("xxx"), 110, 10) == CONFLICT_PAUSES[1]
