"""Workers as the command line names them."""

from __future__ import annotations

import pytest

from toolhouse_async._cli.mcp_server.workers import Worker, read_workers


def test_a_worker_has_a_name_an_id_and_a_description() -> None:
    read = read_workers(["analyst=csv-analyst=Reads CSV files.", " b.2 = https://agents.toolhouse.ai/x = a = b; c "])
    assert list(read.values()) == [
        Worker("analyst", "csv-analyst", "Reads CSV files."),
        Worker("b.2", "https://agents.toolhouse.ai/x", "a = b; c"),
    ]
    assert list(read) == ["analyst", "b.2"]


@pytest.mark.parametrize("value", ["", "name", "name=id", "name=id=", "name==text", "=id=text", " = = ", "name=id= "])
def test_all_three_are_needed(value: str) -> None:
    with pytest.raises(ValueError, match="not NAME=AGENT_ID=DESCRIPTION"):
        read_workers([value])


@pytest.mark.parametrize("name", ["a" * 128, "A-b_c.9", "0"])
def test_names_that_the_protocol_allows(name: str) -> None:
    assert list(read_workers([f"{name}=id=text"])) == [name]


@pytest.mark.parametrize("name", ["a" * 129, "my tool", "a/b", "ä", "a,b", "a:b"])
def test_names_that_it_does_not_allow(name: str) -> None:
    with pytest.raises(ValueError, match="not a tool's name"):
        read_workers([f"x{name}=id=text"])


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="two workers have the name 'a'"):
        read_workers(["a=one=text", "b=two=text", "a=three=text"])
    assert len(read_workers(["a=one=text", "A=one=text"])) == 2
