"""What the page says of other clients is what they do, by their default settings, to a service that breaks off.

It needs ``pip install anthropic azure-core[aio] fal-client langgraph-sdk openai``. Where a client has changed,
``python -m tests.frameworks.compared`` prints the tables as the page has to have them, which is then corrected.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

from toolhouse_async import OutcomeUnknownError

pytestmark = pytest.mark.filterwarnings("ignore")  # the clients' own

with warnings.catch_warnings(action="ignore"):
    for package in ("anthropic", "azure.core", "fal_client", "langgraph_sdk", "openai"):
        pytest.importorskip(package)

with warnings.catch_warnings(action="ignore"):
    import fal_client.client
    from anthropic.resources.messages import AsyncBatches, AsyncMessages
    from azure.core.exceptions import HttpResponseError
    from azure.core.polling.async_base_polling import AsyncLROBasePolling
    from langgraph_sdk.client import RunsClient
    from openai.resources.responses import AsyncResponses
    from packaging.version import Version

    from .compared.__main__ import lines, row
    from .compared.measure import advice, reading, sending, served
    from .compared.programs import PROGRAMS
    from .compared.service import AWAY, NGINX, refusal
    from .compared.tables import PAGE, SETTINGS, TABLES, shown, written


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("head", TABLES)
async def test_the_page_says_what_a_client_does(head: str, name: str) -> None:
    table = written(head)
    assert table[head] == [shown(each) for each in PROGRAMS]
    column = list(PROGRAMS).index(name)
    assert list(table)[1:] == list(TABLES[head])
    measured = {row: await measure(PROGRAMS[name]()) for row, measure in TABLES[head].items()}
    assert measured == {row: table[row][column] for row in TABLES[head]}


@pytest.mark.parametrize("number", range(len(SETTINGS)), ids=lambda number: "-".join(SETTINGS[number][:2]))
async def test_the_page_says_what_a_setting_changes(number: int) -> None:
    rows = written("number")
    assert len(rows) == len(SETTINGS) + 1
    name, words, settings, moment, measure = SETTINGS[number]
    assert rows[str(number + 1)] == [shown(name), words, moment, await measure(PROGRAMS[name](**settings))]


def test_the_page_names_versions_that_are_not_newer_than_what_is_measured() -> None:
    rows = written("client")
    assert list(rows)[1:] == [shown(name) for name in PROGRAMS]
    for name, program in PROGRAMS.items():
        assert Version(program().version) >= Version(rows[shown(name)][0])


def test_each_program_uses_the_calls_that_the_page_names() -> None:
    for program in PROGRAMS.values():
        source = inspect.getsource(program)
        for call in (program.waits_by, program.job_again_by, program.answer_again_by):
            assert call.partition("(")[0].rpartition(".")[2] in source


async def test_the_tables_are_printed_as_the_page_has_them() -> None:
    def of_settings(table: list[str]) -> list[str]:
        return [line for line in table if "| `azure-core` |" in line and line[2].isdigit()]

    page = PAGE.read_text("utf-8").splitlines()
    printed = [line async for line in lines(["azure-core"])]
    assert of_settings(printed) == of_settings(page) != []
    assert row("The message", *map(shown, PROGRAMS)) in page


def header(requests: Any, name: str) -> list[str | None]:
    """What each request says in a header."""
    return [request.headers.get(name) for request in requests]


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_repeated_message_is_numbered_and_has_no_key(name: str) -> None:
    _, _, service = await sending(PROGRAMS[name](), "lost")
    assert header(service.accepted, "x-stainless-retry-count") == ["0", "1", "2"]
    assert header(service.accepted, "idempotency-key") == [None, None, None]


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_key_of_your_own_goes_with_each_repetition(name: str) -> None:
    program = PROGRAMS[name]()
    service = program.service("lost")
    async with served(program, service) as client:
        with pytest.raises(Exception, match="Connection error"):
            await program.ask(client.with_options(default_headers={"Idempotency-Key": "mine"}))
    assert header(service.accepted, "idempotency-key") == ["mine"] * 3


async def test_azure_repeats_a_message_under_the_same_id() -> None:
    _, _, service = await sending(PROGRAMS["azure-core"](method="PUT"), "lost")
    assert len(set(header(service.accepted, "x-ms-client-request-id"))) == 1
    assert header(service.accepted, "x-ms-client-request-id")[0] is not None


async def test_anthropic_tells_by_the_stop_reason_that_a_message_is_not_whole() -> None:
    program = PROGRAMS["anthropic"]()
    for fault, reason in (("clean", None), (None, "end_turn")):
        seen: dict[str, Any] = {}
        async with served(program, program.service(fault)) as client:
            words = [word async for word in program.speak(client, seen)]
        assert len(words) == (5 if fault else 10)
        assert seen == {"stop_reason": reason}


async def test_langgraph_raises_where_the_service_names_no_place_to_come_back_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = PROGRAMS["langgraph-sdk"]()
    stream = program.service.stream

    async def nameless(self: Any, reader: Any, writer: Any, headers: Any = None, first: int = 0) -> None:
        await stream(self, reader, writer, {}, first)

    monkeypatch.setattr(program.service, "stream", nameless)
    assert str(await reading(program, "rst")) == "all, then `ReadError`"
    assert str(await reading(program, "clean")) == "all, then an end as if whole"


async def test_our_errors_of_a_status_say_whether_the_message_may_be_sent_again() -> None:
    for status, is_safe in ((500, None), (503, None), (409, True)):
        _, error, _ = await sending(PROGRAMS["toolhouse-async"](), refusal(status))
        assert error is not None
        assert advice(error) == f"`safe_to_retry` is `{is_safe}`"


async def test_a_later_message_of_ours_which_is_a_put_is_sent_once_too() -> None:
    program = PROGRAMS["toolhouse-async"]()
    service = program.service()
    async with served(program, service) as client, client.session("agent") as session:
        await session.send("first")
        service.fault = "lost"
        with pytest.raises(OutcomeUnknownError) as caught:
            await session.send("second")
        assert caught.value.safe_to_retry is None
        assert [request.method for request in service.accepted] == ["POST", "PUT"]


@pytest.mark.parametrize(("refused", "ending"), [(4, "all, then the rest"), (5, "all, then `TransportError`")])
async def test_langgraph_comes_back_up_to_five_times_in_a_row(refused: int, ending: str) -> None:
    program = PROGRAMS["langgraph-sdk"](stream_resumable=True)
    assert str(await reading(program, "rst", polls=[refusal(503)] * refused)) == ending


async def test_fal_does_not_repeat_what_its_own_servers_refused() -> None:
    page = refusal(503, NGINX).replace(b"Content-Type", b"X-Fal-Request-Id: one\r\nContent-Type")
    accepted, _, _ = await sending(PROGRAMS["fal-client"](), page)
    assert accepted == 1


async def test_azure_puts_its_token_on_the_error_of_a_job() -> None:
    program = PROGRAMS["azure-core"]()
    service = program.service(away=AWAY)
    seen: dict[str, Any] = {}
    async with served(program, service) as client:
        with pytest.raises(HttpResponseError) as caught:
            await program.wait(client, seen)
        assert caught.value.continuation_token == seen["token"]


def test_what_the_page_says_of_the_others_calls_and_constants() -> None:
    assert fal_client.client.MAX_ATTEMPTS == 10
    assert fal_client.client.INGRESS_ERROR_CODES == [502, 503, 504]
    assert fal_client.client.DEFAULT_QUEUE_POLL_INTERVAL == 0.1
    assert AsyncLROBasePolling()._timeout == 30
    cancel = (AsyncResponses, AsyncBatches, RunsClient, fal_client.AsyncRequestHandle)
    assert all(hasattr(each, "cancel") for each in cancel)
    assert hasattr(AsyncMessages, "create")
    assert not hasattr(AsyncMessages, "retrieve")
