import shlex

import click
import pytest

from toolhouse_async import ConfigurationError, JobToken
from toolhouse_async._cli.runs.target import read_target

TOKEN = JobToken("worker", "run-1", "job-1", 1000.0)


def test_a_run_is_named_by_a_token_or_by_its_ids():
    assert read_target([TOKEN.to_json()]).token == TOKEN
    found = read_target([TOKEN.to_json()])
    assert (found.agent_id, found.run_id) == ("worker", "run-1")
    found = read_target(["worker", "run-1"])
    assert (found.agent_id, found.run_id, found.token) == ("worker", "run-1", None)


def test_a_command_about_it_can_be_typed():
    found = read_target(["https://agents.toolhouse.ai/a b", "run-1"], ("--json",))
    assert shlex.split(found.command("reconcile", "Hello you")) == [
        "toolhouse-async",
        "reconcile",
        "--json",
        "--",
        "https://agents.toolhouse.ai/a b",
        "run-1",
        "Hello you",
    ]


@pytest.mark.parametrize("words", [["worker"], ["a", "b", "c"], [], ["a", "\udc80"]])
def test_anything_else_is_a_wrong_usage(words):
    with pytest.raises(click.UsageError):
        read_target(words)


def test_the_key_of_a_store_leads_to_its_run():
    with pytest.raises(click.UsageError, match="'sessions show KEY' has them for a key of a store"):
        read_target(["telegram:42"])


@pytest.mark.parametrize("word", ["{", "{}", TOKEN.to_json().replace("run-1", "../run")])
def test_a_token_is_checked(word):
    with pytest.raises(ConfigurationError, match="not a"):
        read_target([word])
