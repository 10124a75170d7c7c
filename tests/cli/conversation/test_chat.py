"""The chat on a terminal, as a person sees it."""

import json
import signal
import stat

import pytest

from tests.cli.support import COMMAND, environment, wait_until
from tests.support.screen import Terminal


def at_prompt(text):
    return text.endswith("\n>") or text == ">"


class Person:
    """Somebody who types and looks at the screen."""

    def __init__(self, terminal):
        self.terminal = terminal
        self.sees = terminal.until
        self.press = terminal.type
        self.leaves = terminal.ended

    def say(self, text):
        """Wait for the prompt and send a message."""
        self.sees(at_prompt)
        self.press(text + "\r")

    @property
    def screen(self):
        return self.terminal.screen.text


@pytest.fixture
def sit(service, tmp_path):
    """Sits somebody down before a terminal with the chat."""
    terminals = []

    def down(worker, *options, **changes):
        command = [*COMMAND, "chat", worker, "--base-url", service.url, "--api-key", service.api_key or "", *options]
        # No terminal answers here where its cursor is.
        env = environment(HOME=str(tmp_path), XDG_STATE_HOME="", PROMPT_TOOLKIT_NO_CPR="1", **changes)
        terminals.append(Terminal(command, env, 100).__enter__())
        return Person(terminals[-1])

    yield down
    for terminal in terminals:
        terminal.__exit__(None, None, None)


async def mute(ctx):
    """Says nothing."""
    yield ctx.tool_result(ctx.tool_call("noop"), "x") if ctx.message == "tool" else ctx.text("")


def messages(service):
    return [(each.method, each.json()["message"]) for each in service.accepted]


def test_a_conversation(sit, service, kept):
    person = sit("echo")
    person.sees("Worker echo, a new conversation.")
    person.say("Hello")
    person.sees("> Hello\nHello\n")
    person.say("Two\x1b\rlines")
    person.sees("> Two\n  lines\nTwo\nlines\n")
    person.sees(at_prompt)
    person.press("\x04")
    assert person.leaves() == 0
    assert messages(service) == [("POST", "Hello"), ("PUT", "Two\nlines")]
    assert kept()["message"] is None


def test_the_last_conversation_goes_on_and_what_was_typed_comes_back(sit, service, tmp_path, kept):
    person = sit("echo")
    person.say("Good morning")
    person.sees("\nGood morning\n")
    person.sees(at_prompt)
    person.press("\x04")
    assert person.leaves() == 0
    person = sit("echo")
    person.sees(f"conversation {kept()['run_id']} goes on")
    person.sees(at_prompt)
    person.press("\x1b[A")  # the key of what was typed before
    person.sees("> Good morning")
    person.press("!\r")
    person.sees("\nGood morning!\n")
    person.sees(at_prompt)
    person.press("\x04")
    assert person.leaves() == 0
    assert messages(service) == [("POST", "Good morning"), ("PUT", "Good morning!")]
    folder = tmp_path / ".local/state/toolhouse-async"
    assert stat.S_IMODE((folder / "typed").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_ctrl_c_stops_an_answer_and_not_the_program(sit, service, finish, kept):
    person = sit("slow")
    person.say("Speak")
    person.sees("word5")
    person.press("\x03")
    person.sees("Stopped. The worker may go on")
    assert kept()["message"] == "Speak"
    finish()
    person.say("/look")
    person.sees("It was accepted, and this is the whole answer:")
    person.sees("word21")
    person.say("/look")
    person.sees("Nothing is open")
    person.sees(at_prompt)
    person.press("\x03")
    person.sees("Ctrl-C again or Ctrl-D leaves.")
    person.sees(lambda text: text.endswith("leaves.\n>"))
    person.press("\x03")
    assert person.leaves() == 0
    assert len(messages(service)) == 1


def test_ctrl_c_behind_a_stopped_answer_leaves(sit, finish):
    person = sit("slow")
    person.say("Speak")
    person.sees("word5")
    person.press("\x03")
    person.sees("Stopped.")
    person.sees(at_prompt)
    person.press("\x03")
    assert person.leaves() == 0


def test_a_job_shows_its_time_and_its_token_and_can_be_left(sit, service, finish, cli):
    person = sit("analyst")
    person.say("Analyse")
    person.sees("runs in the background")
    person.sees(" s  1 poll")
    person.press("\x03")
    person.sees("Stopped waiting; job ")
    person.say("/token")
    person.sees('"round":0}')
    token = json.loads(person.screen[person.screen.rindex("{") : person.screen.rindex("}") + 1].replace("\n", ""))
    finish()
    person.say("/look")
    person.sees("First. Then 42.")
    person.say("/token")
    person.sees("No job runs. The conversation is ")
    person.sees(at_prompt)
    person.press("\x04")
    assert person.leaves() == 0
    assert token["agent_id"] == "analyst"
    assert messages(service) == [("POST", "Analyse"), ("PUT", "")]
    done = cli("wait", json.dumps(token), "--base-url", service.url, "--api-key", "")
    assert done.stdout.endswith("Then 42.\n")


def test_a_message_behind_a_job_waits_for_it(sit, service, finish):
    person = sit("analyst")
    person.say("Analyse")
    person.sees("runs in the background")
    finish()
    person.sees("Then 42.")
    person.say("again")
    person.sees("Nothing left.")


def test_an_answer_that_is_empty_is_told(sit, service):
    service.worker("mute")(mute)
    person = sit("mute")
    person.say("Hello")
    person.sees("> Hello\nThe answer has no text.\n")


def test_what_a_worker_says_is_harmless(sit):
    person = sit("rude")
    person.say("Hello")
    person.sees("\\x1b]0;owned\\x07 \\x9b31m \\x1b[2J\\x1b[?1049h red\\u202e")  # the screen refuses all else
    person.say("/history")
    person.sees("assistant:\n  \\x1b]0;owned")


def test_commands(sit, service, tmp_path, kept):
    person = sit("echo")
    person.say("/history")
    person.sees("Nothing was said yet.")
    person.say("/token")
    person.sees("There is no conversation yet.")
    person.say("Hello")
    person.sees("\nHello\n")
    person.say("/help")
    person.sees("/export FILE")
    person.say("/history")
    person.sees("user:\n  Hello\nassistant:\n  Hello\n")
    for name, begins in (("a.md", "## user\n\nHello\n"), ("a.json", '[{"role":"user"')):
        person.say(f"/export {tmp_path / name}")
        wait_until(lambda name=name: (tmp_path / name).exists() and (tmp_path / name).read_text())
        assert (tmp_path / name).read_text().startswith(begins)
    person.say(f"/export {tmp_path / 'a.md'}")
    person.sees(lambda text: "File exists" in " ".join(text.split()))  # long paths break it in two
    person.say("/export")
    person.sees("needs the name of a file")
    person.say("/nothing")
    person.sees("there is no command /nothing")
    person.say("//slash")
    person.sees("\n/slash\n")
    run_id = kept()["run_id"]
    person.say("/new")
    person.sees("A new conversation.")
    assert kept()["run_id"] is None
    person.say("Bye")
    person.sees("\nBye\n")
    person.sees(at_prompt)
    assert kept()["run_id"] not in (run_id, None)
    assert messages(service) == [("POST", "Hello"), ("PUT", "/slash"), ("POST", "Bye")]


def test_a_message_that_is_not_accepted_comes_back_to_the_prompt(sit, service):
    service.faults.add(status=429, retry_after=1000)
    person = sit("echo")
    person.say("Hello")
    person.sees("Error: RateLimitError")
    person.sees("The message was not accepted: here it is again.\n> Hello")
    person.press("!\r")
    person.sees("\nHello!\n")
    assert messages(service) == [("POST", "Hello!")]


def test_of_an_unknown_outcome_it_offers_to_look(sit, service):
    person = sit("echo")
    person.say("Hello")
    person.sees("\nHello\n")
    service.faults.add(method="PUT", cut="fin", accept=True)
    person.say("Book a table")
    person.sees("Error: OutcomeUnknownError")
    person.sees("Look now what became of it? [Y/n]")
    person.press("\r")
    person.sees("It was accepted, and this is the whole answer:\nBook a table\n")
    person.say("Bye")
    person.sees("\nBye\n")
    assert messages(service) == [("POST", "Hello"), ("PUT", "Book a table"), ("PUT", "Bye")]


def test_of_a_first_message_nobody_can_know(sit, service, kept):
    service.faults.add(method="POST", cut="fin")
    person = sit("echo")
    person.say("Hello")
    person.sees("Error: OutcomeUnknownError")
    person.sees(lambda text: text.endswith("conversation.\n>"))  # Enter sends nothing again
    assert kept() == {**kept(), "message": None, "run_id": None}
    person.say("What is new?")
    person.sees("\nWhat is new?\n")
    assert "reconcile" not in person.screen
    assert messages(service) == [("POST", "What is new?")]


def test_a_first_message_that_is_stopped_before_its_answer_begins(sit, service):
    service.faults.add(method="POST", cut="silence", accept=True)
    person = sit("echo")
    person.say("Hello")
    wait_until(lambda: service.accepted)
    person.press("\x03")
    person.sees("Stopped.")
    person.sees("nobody can look what became of it")
    assert "/look" not in person.screen
    person.say("Bye")
    person.sees("\nBye\n")
    assert messages(service) == [("POST", "Hello"), ("POST", "Bye")]


def test_a_process_that_is_killed_leaves_a_message_that_the_next_one_looks_for(sit, service, finish, kept):
    person = sit("slow")
    person.say("Speak")
    person.sees("word5")
    person.terminal.process.send_signal(signal.SIGKILL)
    person.leaves()
    finish()
    person = sit("slow")
    person.sees('The answer to the last message was not seen: "Speak"')
    person.sees("Look now what became of it? [Y/n]")
    person.press("y\r")
    person.sees("It was accepted, and this is the whole answer:")
    person.sees("word21")
    person.sees(at_prompt)
    assert kept()["message"] is None
    assert len(messages(service)) == 1


def test_a_first_message_that_a_killed_process_has_sent(sit, service):
    service.faults.add(method="POST", cut="silence", accept=True)
    person = sit("echo")
    person.say("Hello")
    wait_until(lambda: service.accepted)
    person.terminal.process.send_signal(signal.SIGKILL)
    person.leaves()
    person = sit("echo")
    person.sees('The answer to the last message was not seen: "Hello"')
    person.sees(lambda text: text.endswith("conversation.\n>"))  # Enter sends nothing again


def test_looking_can_be_stopped(sit, service, finish):
    person = sit("slow")
    person.say("Speak")
    person.sees("word5")
    person.press("\x03")
    person.sees("Stopped.")
    person.say("/look")
    person.sees("Looking in the history")
    person.press("\x03")
    person.sees("Stopped looking; /look looks again.")
    finish()
    person.say("/look")
    person.sees("word21")


@pytest.mark.parametrize(
    ("worker", "options", "message"),
    [("nobody", [], "NotFoundError"), ("echo", ["--run-id", "unknown"], "NotFoundError")],
)
def test_what_is_not_there_is_said(sit, worker, options, message):
    person = sit(worker, *options)
    person.say("Hello")
    person.sees(message)
    person.sees("here it is again")


def test_a_wrong_key_is_said(sit, service):
    person = sit("echo", "--api-key", "wrong")
    service.api_key = "secret"
    person.say("Hello")
    person.sees("AuthenticationError")
    assert "wrong" not in person.screen.replace("is wrong", "")


def test_sigterm_ends_it_and_leaves_the_terminal_as_it_was(sit):
    person = sit("echo")
    person.sees(at_prompt)
    person.terminal.process.terminate()
    assert person.leaves() == 143
    assert person.terminal.is_cooked


def test_without_its_library_it_says_how_to_install_it(service, tmp_path):
    code = f"import sys; sys.modules['prompt_toolkit'] = None\n{COMMAND[-1]}"
    command = [*COMMAND[:-1], code, "chat", "echo", "--base-url", service.url, "--api-key", ""]
    with Terminal(command, environment(HOME=str(tmp_path), XDG_STATE_HOME="")) as terminal:
        assert terminal.ended() == 2
        assert "pip install 'toolhouse-async[cli]'" in terminal.screen.text
        assert "Traceback" not in terminal.screen.text


def test_an_old_terminal(sit):
    person = sit("echo", TERM="dumb")
    person.sees("new conversation")
    person.press("Hello\r")
    person.sees(lambda text: text.count("Hello") > 1)
