import asyncio
import json
import shlex

import pytest

from tests.cli.runs.service import JOB, serving
from toolhouse_async import ConfigurationError, RecoveryPolicy
from toolhouse_async._cli.runs.target import Target
from toolhouse_async._cli.runs.waiting import wait


async def waited(service, target, *, resume=True, timeout=None, as_json=False):
    return await wait(service.client(), target, resume=resume, timeout=timeout, as_json=as_json)


@pytest.mark.parametrize("by_token", [True, False])
async def test_a_job_is_waited_for_and_its_run_is_resumed(capsys, by_token):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        target = service.target(result) if by_token else Target("analyst", result.run_id)
        assert await waited(service, target) == 0
        assert service.sent == [("POST", "Analyse"), ("PUT", "")]
    out, err = capsys.readouterr()
    assert out == "Then 42.\n"
    assert "[job over after" in err
    assert "[resumed]" in err


async def test_json_prints_every_event(capsys):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        assert await waited(service, service.target(result), as_json=True) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["event"] for each in events if each["event"] != "JobProgress"] == [
        "JobStarted",
        "JobFinished",
        "TurnResumed",
        "TextDelta",
        "TurnCompleted",
    ]


async def test_a_job_that_began_long_ago_is_waited_for(capsys):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        token = json.loads(result.token.to_json()) | {"started": 1000}
        target = Target("analyst", result.run_id, type(result.token).from_json(json.dumps(token)))
        assert await waited(service, target) == 0


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_job_that_is_over_is_resumed_once_by_whoever_comes_first(capsys, as_json):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        await asyncio.sleep(JOB + 1)
        for _ in range(2):
            assert await waited(service, service.target(result), as_json=as_json) == 0
        assert service.sent == [("POST", "Analyse"), ("PUT", "")]
    out, err = capsys.readouterr()
    assert "no job runs" in err
    if as_json:
        assert [json.loads(line)["event"] for line in out.splitlines()] == ["TurnCompleted"] * 2
    else:
        assert out.endswith("Then 42.\n")


async def test_a_run_at_rest_is_sent_nothing(capsys):
    async with serving() as service:
        result = await service.begin("echo", "Hello")
        assert await waited(service, service.target(result)) == 0
        assert service.sent == [("POST", "Hello")]
    assert capsys.readouterr().out == "Hello\n"


@pytest.mark.parametrize("as_json", [False, True])
async def test_without_a_resume_nothing_is_sent(capsys, as_json):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        assert await waited(service, service.target(result), resume=False, as_json=as_json) == 0
        assert service.sent == [("POST", "Analyse")]
    out = capsys.readouterr().out
    if as_json:
        assert json.loads(out)["next"] == "resume"
    else:
        assert "waits to be resumed" in out
        assert f"wait for it: toolhouse-async wait -- analyst {result.run_id}\n" in out


@pytest.mark.parametrize("resume", [True, False])
async def test_a_job_that_still_runs_at_the_timeout(capsys, resume):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        assert await waited(service, service.target(result), resume=resume, timeout=5) == 3
        assert service.sent == [("POST", "Analyse")]
        out, err = capsys.readouterr()
        assert "First" not in out
        assert "Error: JobWaitTimeoutError: " in err
        assert "5.0 s, and --timeout is over" in err
        way_on = shlex.split(err.splitlines()[-1].partition(": ")[2])
        options = [] if resume else ["--no-resume"]
        assert way_on == ["toolhouse-async", "wait", *options, "--", "analyst", result.run_id]
        warned = f"Go on (may take {RecoveryPolicy().deadline:g} s if the job is over by then) with: " in err
        assert warned == resume  # the other one is told at once that the job is over


async def test_a_timeout_that_never_suffices_says_which_one_does(capsys):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        await asyncio.sleep(JOB + 1)
        assert await waited(service, service.target(result), timeout=45) == 3
        err = capsys.readouterr().err
        assert f"looks anew, for {RecoveryPolicy().deadline:g} s until it resumes: leave --timeout out" in err
        assert err.splitlines()[-1].endswith(f" with: toolhouse-async wait -- analyst {result.run_id}")
        assert await waited(service, service.target(result), timeout=RecoveryPolicy().deadline + 5) == 0


@pytest.mark.parametrize("resume", [True, False])
async def test_a_service_that_is_not_there_is_said_at_once(capsys, resume):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        service.emulator.faults.add(method="GET", cut="rst", times=None)
        began = asyncio.get_running_loop().time()
        assert await waited(service, service.target(result), resume=resume) == 1
        assert asyncio.get_running_loop().time() - began < RecoveryPolicy().quiet
    assert "connection was lost" in capsys.readouterr().err


async def test_a_timeout_says_as_json_how_to_go_on(capsys):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        assert await waited(service, service.target(result), timeout=5, as_json=True) == 3
    failed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert failed["event"] == "TurnFailed"
    assert json.loads(failed["token"])["job_id"] == result.token.job_id


async def test_a_resume_of_which_nobody_knows(capsys):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        lost = service.emulator.faults.add(method="PUT", cut="fin")
        task = asyncio.create_task(waited(service, service.target(result)))
        while not lost.hits:
            await asyncio.sleep(0.1)
        service.emulator.faults.add(method="GET", status=401, times=None)
        assert await task == 4
    assert "Error: ResumeUncertainError: " in capsys.readouterr().err


async def test_what_is_not_there_is_a_failure(capsys):
    async with serving() as service:
        assert await waited(service, Target("echo", "unknown")) == 1
        with pytest.raises(ConfigurationError):
            await waited(service, Target("echo", "../x"))
    assert "NotFoundError" in capsys.readouterr().err


async def test_a_wait_that_is_interrupted_says_how_to_go_on(capsys):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        task = asyncio.create_task(waited(service, service.target(result)))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"Go on (may take {RecoveryPolicy().deadline:g} s if the job is over by then) with: ")
    assert last.endswith(f" with: toolhouse-async wait -- analyst {result.run_id}")


async def test_a_worker_that_fails_is_a_failure(capsys):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        service.emulator.faults.add(method="PUT", status=422)
        assert await waited(service, service.target(result)) == 1
    assert "UnprocessableEntityError" in capsys.readouterr().err
