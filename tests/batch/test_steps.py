from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from toolhouse_async import errors as er
from toolhouse_async._batch.steps import TABLE, Standing, Step, Verdict, is_away, standing_of, step_for, verdict_on
from toolhouse_async._wire.records import Record, Row, Unsettled
from toolhouse_async._wire.stage import Stage


def unsettled(stage: Stage) -> Unsettled:
    return Unsettled("words", bars=True, told=False, resumes=stage is Stage.RESUME, stage=stage)


ROWS = [None, *(Row("digest", status, "") for status in ("open", "done", "failed", "unknown"))]
RECORDS = [
    Record(run_id=run_id, nameless=nameless, unsettled=None if stage is None else unsettled(stage), row=row)
    for run_id, nameless, stage, row in product([None, "run"], [False, True], [None, *Stage], ROWS)
    if not (run_id is not None and (nameless or stage is Stage.MESSAGE))  # a run has one name, and one first message
]


def test_the_table_says_what_to_do_wherever_a_row_stands() -> None:
    assert TABLE.keys() == set(Standing)
    assert {step for steps in TABLE.values() for step in steps} == set(Step)


def test_the_reference_shows_the_table() -> None:
    page = Path(__file__).parents[2] / "docs/reference/batches.md"
    for standing, steps in TABLE.items():
        row = " | ".join([f"| {standing.name}: {standing.value}", *(step.name for step in steps)])
        assert f"{row} |\n" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("is_free", "retry", "digest"), list(product([True, False], [True, False], ["digest", "other"]))
)
def test_every_record(is_free: bool, retry: bool, digest: str) -> None:
    for record in RECORDS:
        standing = standing_of(record)
        step = step_for(record, digest, is_free=is_free, retry_unknown=retry)
        row = record.row
        has_changed = row is not None and row.digest != digest
        may_be_sent = record.unsettled is not None and record.unsettled.stage is Stage.MESSAGE
        was_accepted = record.run_id is not None or (record.unsettled is not None and not may_be_sent)
        is_over = row is not None and row.status != "open"
        # What was accepted is never sent again; what may have been, only where the user says so.
        if step is Step.ASK and not is_over:
            assert not was_accepted
            assert retry or not may_be_sent
        if step is Step.ASK and is_over:
            assert retry
            assert standing is Standing.UNKNOWN
        # What somebody has is left to them, and what is over is given.
        if not is_free:
            assert step in (Step.LEAVE, Step.GIVE, Step.REFUSE) or (standing is Standing.NEW and has_changed)
        assert (step is Step.GIVE) <= is_over
        assert (step is Step.REFUSE) == (has_changed and standing is not Standing.NEW)
        assert (step is Step.RECOVER) <= was_accepted
        assert (step is Step.NOTE_UNKNOWN) <= (may_be_sent and not retry)


@pytest.mark.parametrize(
    ("record", "standing"),
    [
        (Record(), Standing.NEW),
        (Record(row=Row("d", "open", "")), Standing.NEW),
        (Record(unsettled=unsettled(Stage.MESSAGE), row=Row("d", "open", "")), Standing.SENDING),
        (Record(run_id="r", row=Row("d", "open", "")), Standing.ACCEPTED),
        (Record(nameless=True, unsettled=unsettled(Stage.ANSWER)), Standing.ACCEPTED),
        (Record(run_id="r", unsettled=unsettled(Stage.JOB)), Standing.ACCEPTED),
        (Record(run_id="r", row=Row("d", "done", "{}")), Standing.DONE),
        (Record(row=Row("d", "failed", "{}")), Standing.FAILED),
        (Record(unsettled=unsettled(Stage.MESSAGE), row=Row("d", "unknown", "{}")), Standing.UNKNOWN),
    ],
)
def test_how_far_a_row_has_come(record: Record, standing: Standing) -> None:
    assert standing_of(record) is standing


AWAY = [
    er.NotSentError(),
    er.ConnectTimeoutError(),
    er.OutcomeUnknownError(),
    er.ResponseTimeoutError(),
    er.StreamInterruptedError(),
    er.IdleTimeoutError(),
    er.RateLimitError(status=429, safe_to_retry=True),
    er.ServerError(status=503),
    er.APIStatusError(status=408),
    er.APIStatusError(status=407, safe_to_retry=True),
    er.RedirectError(status=302, safe_to_retry=True),
    er.ContactLostError(),
    er.UnexpectedContentError(),
]
THERE = [
    er.TLSError(),
    er.BadRequestError(status=400, safe_to_retry=True),
    er.AuthenticationError(status=401, safe_to_retry=True),
    er.PermissionDeniedError(status=403, safe_to_retry=True),
    er.NotFoundError(status=404, safe_to_retry=True),
    er.APIStatusError(status=413, safe_to_retry=True),
    er.WorkerError(),
    er.JobWaitTimeoutError(),
    er.TurnTimeoutError(),
    er.BodyTooLargeError(),
    er.LineTooLongError(),
    er.MalformedEventError(),
    ValueError(),
]


def test_what_shows_that_the_service_is_away() -> None:
    assert [error for error in AWAY if not is_away(error)] == []
    assert [error for error in THERE if is_away(error)] == []
    assert is_away(er.ProtocolError("the answer is not valid HTTP"))
    assert not is_away(er.ProtocolError("the answer has no run id", safe_to_retry=False))


@pytest.mark.parametrize("error", [*AWAY, *THERE], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("safe", [True, False, None])
@pytest.mark.parametrize("is_accepted", [True, False])
def test_every_failure(error: Exception, safe: bool | None, is_accepted: bool) -> None:
    if isinstance(error, er.ToolhouseError):
        error.safe_to_retry = safe
    verdict = verdict_on(error, is_accepted=is_accepted)
    if is_accepted:
        assert verdict is (Verdict.RECOVER if is_away(error) else Verdict.FAILED)
    elif not isinstance(error, er.ToolhouseError) or safe is False:
        assert verdict is Verdict.FAILED
    elif safe is None:
        assert verdict is Verdict.UNKNOWN
    else:
        is_silent = isinstance(error, er.TurnTimeoutError)  # for longer than the row may take
        assert verdict is (Verdict.AGAIN if is_away(error) or is_silent else Verdict.FAILED)


@pytest.mark.parametrize("is_accepted", [True, False])
def test_failures_that_say_nothing_of_the_row(is_accepted: bool) -> None:
    assert verdict_on(er.LeaseLostError(), is_accepted=is_accepted) is Verdict.TAKEN
    vanished = er.LeaseLostError()
    vanished.has_vanished = True
    for error in (er.StoreError(), er.ClosedError(), er.SessionBusyError(), vanished):
        assert verdict_on(error, is_accepted=is_accepted) is Verdict.STOP
    assert verdict_on(er.ResumeUncertainError(), is_accepted=True) is Verdict.RECOVER
