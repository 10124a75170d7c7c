"""What is written down of a turn while it goes on, and how another process takes it up, which has heard nothing of it.

A store keeps how far a turn has come, and not what it has brought: that stands in the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._values.options import Options
from .._wire.records import Later, Record, Unsettled
from .._wire.stage import Stage
from .fold import Fold
from .heard import NOTHING_HEARD, Heard, Said, key_of
from .knowledge import NEVER, Unfinished
from .others import Others
from .transcript import Transcript

if TYPE_CHECKING:
    from .._values.results import JobToken
    from .._wire.records import Pieces
    from .knowledge import Run


# What is written down


def sending(words: str | None, *, resumes: bool) -> dict[str, Any]:
    """What changes in a record where a message is about to be sent."""
    stage = Stage.RESUME if resumes else Stage.MESSAGE
    return {"unsettled": Unsettled(words, bars=not resumes, told=resumes, resumes=resumes, stage=stage)}


def answered(record: Record, token: JobToken | None) -> dict[str, Any]:
    """The same where it was accepted.

    Args:
        record: What is written down.
        token: The job that the answer tells of before its body, if it does; else behind a resume the job before stays.
    """
    unsettled = record.unsettled
    if token is None and unsettled is not None and unsettled.stage is not Stage.MESSAGE:
        return {"unsettled": _at(Stage.ANSWER, unsettled)}
    stage = Stage.ANSWER if token is None else Stage.JOB
    return {"unsettled": unsettled and _at(stage, unsettled), "token": token}


def waiting(record: Record, token: JobToken, *, refused: bool) -> dict[str, Any]:
    """The same where a job is running.

    Args:
        record: What is written down.
        token: The job.
        refused: Whether a message of the user's was refused for it.
    """
    unsettled = None if refused else record.unsettled
    if unsettled is not None and unsettled.stage.is_accepted:
        unsettled = _at(Stage.JOB, unsettled)
    return {"unsettled": unsettled, "token": token}


def left(run: Run) -> Unsettled | None:
    """What is open where a turn was ended before it brought a result, if one was."""
    unfinished = run.unfinished
    if unfinished is None:
        return None
    stage, was_refused = unfinished.stage, not run.transcript.has(unfinished.said)
    if stage is Stage.JOB and was_refused:
        stage = Stage.RESUME_DUE  # the job goes on, and what it follows is not what was said last
    return Unsettled(
        unfinished.words,
        bars=unfinished.bars,
        told=unfinished.told,
        resumes=unfinished.round > 0 or stage is Stage.RESUME or was_refused,
        stage=stage,
    )


def standing(run: Run, said: Said | None) -> dict[str, Any]:
    """What was said and heard on a run, before a message that is open if one is."""
    if said is not None and run.unfinished is not None and not run.transcript.has(said):
        said = run.unfinished.said  # it was refused, and one before it is open still
    counts, since = run.transcript.counted(said)
    tail = run.transcript.heard_before(since[0] if since else said)
    if run.run_id is None:
        counts, since, tail = {}, (), NOTHING_HEARD
    return {
        "run_id": run.run_id,
        "nameless": run.is_nameless,
        "said": None if counts is None else dict(counts),
        "heard": _pieces(tail),
        "since": tuple(Later(each.key, each.is_certain, _pieces(each.heard)) for each in since),
    }


def _pieces(heard: Heard | None) -> Pieces | None:
    return None if heard is None or not heard.whole else heard.pieces


def _at(stage: Stage, unsettled: Unsettled) -> Unsettled:
    """The same of a message that was accepted."""
    return unsettled._replace(bars=False, told=True, stage=stage)


# How it is taken up


def is_known(run: Run, record: Record) -> bool:
    """Whether this process knows of a run all that the store has: nobody else has used the key since."""
    here, unsettled = left(run), record.unsettled
    counts, since = run.transcript.counted(None if run.unfinished is None else run.unfinished.said)
    fates = [(each.key, each.is_certain) for each in since]
    if counts is None or counts != record.said or fates != [each[:2] for each in record.since]:
        return False
    if here is None or unsettled is None:
        return here is unsettled
    return (here.words, here.stage) == (unsettled.words, unsettled.stage)


def take_up(run: Run, record: Record, now: float, *, idle: float, job_age: float) -> Said | None:
    """Take up what another process, or an earlier use of the key, has left.

    Args:
        run: What is known of the run: this, from now on.
        record: What is written down.
        now: The time.
        idle: Seconds since the record's lease ended: a message may have been sent at any time until then.
        job_age: Seconds since the record's job was seen first.

    Returns:
        The message that is open, if one is.
    """
    unsettled, token = record.unsettled, record.token
    run.transcript, run.resumed, run.unfinished, run.ended = _transcript(record), {}, None, None
    run.begun = NEVER if record.said is not None else None
    if unsettled is None:
        return None
    stage, accepted = unsettled.stage, unsettled.stage.is_accepted
    if stage is Stage.JOB and token is None:
        stage = Stage.ANSWER  # the job will be seen, or what came after it
    said = run.transcript.latest if accepted else None
    if said is not None and said.key != key_of(unsettled.words):
        said = None
    if stage is Stage.RESUME_DUE:
        said = Said(unsettled.words)  # what was said before it, or a resume that was not accepted
    elif said is None:
        said = run.transcript.say(unsettled.words)
        said.is_certain = accepted
    is_resume = unsettled.resumes and stage in (Stage.RESUME, Stage.ANSWER)
    if is_resume and token is not None:
        run.resumed[token.job_id] = said  # so nobody does once more what was done, or may have been
    rounds = (token.round if token else 0) + (is_resume and accepted)
    run.unfinished = Unfinished(
        stage,
        said,
        unsettled.words,
        now - idle,
        Fold(),
        Options(format=token.format if token else "ndjson"),
        round=max(rounds, int(unsettled.resumes and accepted)),
        has_job=stage is Stage.JOB,
        job=None if token is None else (token.job_id, now - job_age),
        bars=unsettled.bars,
        told=unsettled.told,
        others=Others.before(unsettled.words, is_resume=unsettled.resumes),
    )
    return said


def _transcript(record: Record) -> Transcript:
    """What is known of a run by what a store keeps: of an accepted message that is open, not where its answer ends."""
    said, unsettled = record.said, record.unsettled
    heard, since = _heard(record.heard), [_said(each) for each in record.since]
    if said is None or unsettled is None or not unsettled.stage.is_accepted:
        return _restored(said, heard, since)
    key, before = key_of(unsettled.words), Counter(said)
    is_due, is_last = unsettled.stage is Stage.RESUME_DUE, since[-1].key == key if since else before[key] > 0
    if is_due or not is_last:
        if since:
            since[-1].heard = None
        return _restored(said, heard if since else None, since)
    if since:
        del since[-1]
    else:
        before[key] -= 1
    transcript = _restored(+before, heard, since)
    transcript.say(unsettled.words).is_certain = True
    return transcript


def _restored(prior: Mapping[str, int] | None, tail: Heard | None, since: list[Said]) -> Transcript:
    transcript = Transcript(prior, tail)
    transcript.extend(since)
    return transcript


def _heard(pieces: Pieces | None) -> Heard | None:
    return None if pieces is None else Heard(pieces, whole=True)


def _said(later: Later) -> Said:
    said = Said.of_key(later.key)
    said.is_certain, said.heard = later.is_certain, _heard(later.heard)
    return said
