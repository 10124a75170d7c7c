import asyncio
import json
import shlex

import pytest

from tests.cli.runs.service import serving
from toolhouse_async import ConfigurationError, RecoveryPolicy, ToolhouseError
from toolhouse_async._cli.runs.reading import print_status
from toolhouse_async._cli.runs.reconciling import reconcile
from toolhouse_async._cli.runs.target import Target
from toolhouse_async._cli.terminal import described


async def reconciled(service, result, *messages, timeout=None, as_json=False):
    target = Target(result.agent_id, result.run_id)
    return await reconcile(service.client(), target, messages or [None], timeout=timeout, as_json=as_json)


async def test_the_answer_to_a_message_of_another_process_is_found(capsys):
    async with serving() as service:
        result = await service.begin("echo", "Book a table", "Hello")
        assert await reconciled(service, result, "Book a table") == 0
        assert len(service.sent) == 2
    out, err = capsys.readouterr()
    assert out == "Book a table\n"
    assert '["Book a table": answered]' in err


async def test_without_a_message_it_is_about_the_last_one(capsys):
    async with serving() as service:
        assert await reconciled(service, await service.begin("echo", "Book a table", "Hello")) == 0
    out, err = capsys.readouterr()
    assert out == "Hello\n"
    assert "[the last message: answered]" in err


async def test_a_message_that_the_history_does_not_show_is_unknown(capsys):
    async with serving() as service:
        result = await service.begin("echo", "Hello")
        assert await reconciled(service, result, "Book a table", "Hello") == 4
        assert len(service.sent) == 1
    out, err = capsys.readouterr()
    assert out == "Hello\n"
    assert "OutcomeUnknownError" in err
    assert '["Book a table": unknown]' in err


async def test_json_is_a_line_for_each_message(capsys):
    async with serving() as service:
        result = await service.begin("echo", "Hello")
        assert await reconciled(service, result, "Hello", "Bye", timeout=30, as_json=True) == 4
    answered, unknown = map(json.loads, capsys.readouterr().out.splitlines())
    assert (answered["message"], answered["outcome"], answered["error"]) == ("Hello", "answered", None)
    assert answered["result"]["text"] == "Hello"
    assert (unknown["message"], unknown["outcome"], unknown["result"]) == ("Bye", "unknown", None)
    assert unknown["error"].startswith("TurnTimeoutError: ")


async def test_a_job_is_waited_for_and_a_due_resume_is_sent(capsys):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        assert await reconciled(service, result, "Analyse") == 0
        assert service.sent == [("POST", "Analyse"), ("PUT", "")]
    assert "Then 42." in capsys.readouterr().out


async def test_a_job_that_still_runs_means_that_it_was_accepted(capsys):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        assert await reconciled(service, result, "Analyse", timeout=20) == 3
    assert '["Analyse": accepted]' in capsys.readouterr().err


async def test_a_service_that_cannot_be_asked(capsys):
    async with serving() as service:
        result = await service.begin("echo", "Hello")
        service.emulator.faults.add(method="GET", status=401, times=None)
        assert await reconciled(service, result, "Hello") == 1
        with pytest.raises(ConfigurationError):
            await reconcile(service.client(), Target("no/id", "x"), [None], timeout=None, as_json=False)
    assert "AuthenticationError" in capsys.readouterr().err


@pytest.mark.parametrize("fault", [{"cut": "rst"}, {"status": 401}, {"status": 404}])
async def test_a_run_that_cannot_be_read_is_said_at_once(capsys, fault):
    async with serving() as service:
        result = await service.begin("echo", "Hello")
        service.emulator.faults.add(method="GET", times=None, **fault)
        with pytest.raises(ToolhouseError) as failed:
            await print_status(service.client(), service.target(result), as_json=False)
        began = asyncio.get_running_loop().time()
        assert await reconciled(service, result, "Hello", "Bye", as_json=True) == 1
        assert asyncio.get_running_loop().time() - began < RecoveryPolicy().quiet
    out, err = capsys.readouterr()
    assert [json.loads(line)["outcome"] for line in out.splitlines()] == ["failed", "failed"]
    assert err.count(f"Error: {described(failed.value)}\n") == 2


async def test_a_service_that_is_gone_later_is_waited_for(capsys):
    async with serving() as service:
        result = await service.begin("echo", "Hello")
        service.emulator.faults.add(method="GET", cut="rst", skip=1, times=20)
        assert await reconciled(service, result, "Hello") == 0
    assert capsys.readouterr().out == "Hello\n"


async def test_a_service_that_does_not_come_back(capsys):
    async with serving() as service:
        result = await service.begin("echo", "Hello")
        service.emulator.faults.add(method="GET", cut="rst", skip=1, times=None)
        assert await reconciled(service, result, "Hello") == 1
    assert "the history does not show it" not in capsys.readouterr().err


async def test_a_search_can_be_interrupted():
    async with serving() as service:
        result = await service.begin("echo", "Hello")
        task = asyncio.create_task(reconciled(service, result, "Bye"))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(service.sent) == 1


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_search_that_ends_in_mid_job_says_how_to_look_again(capsys, is_cancelled):
    async with serving() as service:
        result = await service.begin("analyst", "Analyse")
        if is_cancelled:
            task = asyncio.create_task(reconciled(service, result, "Analyse", "Hello you"))
            await asyncio.sleep(5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            assert await reconciled(service, result, "Analyse", timeout=20) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"Find out (may take {RecoveryPolicy().deadline:g} s) with: ")
    said = ["Analyse", "Hello you"] if is_cancelled else ["Analyse"]
    command = ["toolhouse-async", "reconcile", "--", "analyst", result.run_id, *said]
    assert shlex.split(last.partition(": ")[2]) == command
