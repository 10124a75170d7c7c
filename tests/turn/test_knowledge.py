from __future__ import annotations

import pytest

from toolhouse_async._turn.fold import Fold
from toolhouse_async._turn.heard import Said
from toolhouse_async._turn.knowledge import Run, Unfinished
from toolhouse_async._values.options import Options
from toolhouse_async._wire.stage import Stage


def test_a_run_that_is_yet_to_begin() -> None:
    run = Run()
    assert not run.has_begun
    assert run.transcript.counted(None) == ({}, [])
    assert Run(is_nameless=True).has_begun
    assert Run("r1").has_begun


def test_a_run_of_others() -> None:
    run = Run.of_others("r1")
    assert (run.run_id, run.has_begun, run.begun, run.transcript.counted(None)) == ("r1", True, None, (None, ()))


def test_runs_share_nothing() -> None:
    one, other = Run(), Run()
    assert one != other
    assert one.transcript is not other.transcript
    assert one.resumed is not other.resumed


@pytest.mark.parametrize("stage", Stage)
def test_a_message_is_uncertain_until_it_is_known_to_be_accepted(stage: Stage) -> None:
    unfinished = Unfinished(stage, Said("x"), "x", 0.0, Fold(), Options())
    assert unfinished.is_uncertain is (stage is Stage.MESSAGE)
    assert not unfinished.bars
    assert unfinished.told
