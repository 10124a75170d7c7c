from __future__ import annotations

import json
import os
import threading
import urllib.request
from http.client import HTTPResponse
from importlib.metadata import entry_points

import pytest

import toolhouse_async.testing
from toolhouse_async.testing import RunningEmulator, WorkersEmulator


def _ask(url: str, message: str, method: str = "POST") -> HTTPResponse:
    body = json.dumps({"message": message}).encode()
    return urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=50)


OTHERS = [f"-pno:{each.name}" for each in entry_points(group="pytest11") if each.name != "toolhouse_async"]
"""Leaves out the plugins of other packages, which take most of a second to load."""


def test_fixture_serves_a_sync_test(toolhouse_emulator: RunningEmulator) -> None:
    threads = []

    @toolhouse_emulator.worker("a")
    async def a(ctx):
        threads.append(threading.current_thread())
        yield ctx.text(f"hello {ctx.message}")

    with _ask(f"{toolhouse_emulator.url}/a", "you") as answer:
        assert answer.read() == b"hello you"
        run_id = answer.headers["x-toolhouse-run-id"]
    toolhouse_emulator.history_empty_messages = False
    with _ask(f"{toolhouse_emulator.url}/a/{run_id}", "", "PUT") as answer:
        assert answer.read() == b"hello "
    with urllib.request.urlopen(f"{toolhouse_emulator.url}/a/{run_id}") as answer:
        assert [entry["role"] for entry in json.load(answer)] == ["user", "assistant", "assistant"]
    assert isinstance(toolhouse_emulator, WorkersEmulator)
    assert [request.method for request in toolhouse_emulator.requests] == ["POST", "PUT", "GET"]
    assert toolhouse_emulator.accepted == toolhouse_emulator.requests[:2]
    assert threading.current_thread() not in threads


def test_silence_is_released_from_the_tests_thread(toolhouse_emulator: RunningEmulator) -> None:
    @toolhouse_emulator.worker("a")
    async def a(ctx):
        yield ctx.text("at last")

    fault = toolhouse_emulator.faults.add(cut="silence")
    timer = threading.Timer(0.01, fault.release)
    timer.start()
    with _ask(f"{toolhouse_emulator.url}/a", "x") as answer:
        assert answer.read() == b"at last"
    timer.join()


def test_plugin_is_there_for_any_project(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import urllib.request

        def test_it(toolhouse_emulator):
            @toolhouse_emulator.worker("a")
            async def a(ctx):
                yield ctx.text("hi")

            with urllib.request.urlopen(toolhouse_emulator.url + "/a", b"") as answer:
                assert answer.read() == b"hi"
        """
    )
    pytester.runpytest_subprocess("-W", "error", *OTHERS).assert_outcomes(passed=1)


def test_a_run_that_does_not_ask_for_the_fixture_loads_nothing_of_ours(pytester: pytest.Pytester) -> None:
    """Any project's run loads the plugin; it must not pay for that."""
    pytester.makepyfile(
        """
        import sys

        LOADED = set(sys.modules)

        def test_nothing_was_loaded(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("toolhouse_async")
            ours = {name for name in LOADED if name.partition(".")[0] == "toolhouse_async"}
            assert ours == set()
        """
    )
    environment = {name for name in os.environ if name.startswith("COVERAGE")}
    with pytest.MonkeyPatch.context() as patch:
        for name in environment:
            patch.delenv(name)
        pytester.runpytest_subprocess(*OTHERS).assert_outcomes(passed=1)


def test_names_are_loaded_on_first_use() -> None:
    names = toolhouse_async.testing.__all__
    assert names == sorted(names)
    assert all(getattr(toolhouse_async.testing, name) is not None for name in names)
    with pytest.raises(AttributeError, match="nothing"):
        toolhouse_async.testing.nothing  # noqa: B018
