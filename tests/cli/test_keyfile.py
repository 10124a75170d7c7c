import os
import sys

import pytest

from toolhouse_async._cli.keyfile import find_key
from toolhouse_async.errors import ConfigurationError

SERVICE = "https://agents.toolhouse.ai"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without a key in it, and an environment without one."""
    for name in ("TOOLHOUSE_API_KEY", "TOOLHOUSE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "TOOLHOUSE_API_KEY=key-1",
        "TOOLHOUSE_API_KEY=key-1\n",
        "TOOLHOUSE_API_KEY=key-1\r\n",
        "\ufeffTOOLHOUSE_API_KEY=key-1\r\n",
        'OTHER=1\nTOOLHOUSE_API_KEY = "key-1"\nMORE=2\n',
        "# a remark\nexport TOOLHOUSE_API_KEY='key-1'  \n",
    ],
)
@pytest.mark.parametrize("base_url", [None, SERVICE, f"{SERVICE}/"])
def test_the_key_of_toolhouses_own_command_line_is_found(home, text, base_url):
    (home / ".toolhouse").write_text(text, "utf-8", newline="")
    assert find_key(None, base_url) == "key-1"


def test_option_and_environment_come_first(home, monkeypatch):
    (home / ".toolhouse").write_text("TOOLHOUSE_API_KEY=key-1")
    assert find_key("key-2", None) == "key-2"
    assert find_key("", None) == ""
    monkeypatch.setenv("TOOLHOUSE_API_KEY", "")
    assert find_key(None, None) is None


WHAT_TO_DO = r"set TOOLHOUSE_API_KEY, log in .*\(th login\), or pass --api-key"


def test_without_a_file_it_says_what_to_do(home):
    with pytest.raises(ConfigurationError, match=rf"^no API key: {WHAT_TO_DO}"):
        find_key(None, None)


@pytest.mark.parametrize(
    "text", ["", "\n", "# TOOLHOUSE_API_KEY=key-1", "API_KEY=key-1\n", "TOOLHOUSE_API_KEY_2=key-1"]
)
def test_a_file_without_a_key_is_named(home, text):
    (home / ".toolhouse").write_text(text)
    with pytest.raises(
        ConfigurationError, match=rf"^no API key: ~/\.toolhouse has no line TOOLHOUSE_API_KEY=…; {WHAT_TO_DO}"
    ) as caught:
        find_key(None, None)
    assert "key-1" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"key-1", 1),
        (b"TOOLHOUSE_API_KEY: key-1\n", 1),
        (b"# a remark\n\nTOOLHOUSE_API_KEY key-1\n", 3),
        (b"TOOLHOUSE_API_KEY=\n", 1),
        (b"A=1\nTOOLHOUSE_API_KEY=''\n", 2),
        (b'TOOLHOUSE_API_KEY="key-1\n', 1),
        (b"TOOLHOUSE_API_KEY=key-1'\n", 1),
        (b'{"TOOLHOUSE_API_KEY": "key-1"}', 1),
        ("TOOLHOUSE_API_KEY=key-1\n".encode("utf-16"), 1),
    ],
)
def test_a_malformed_file_is_called_so(home, capsys, data, line):
    (home / ".toolhouse").write_bytes(data)
    with pytest.raises(
        ConfigurationError,
        match=rf"^no API key: ~/\.toolhouse is malformed: its line {line} is not NAME=value; {WHAT_TO_DO}",
    ) as caught:
        find_key(None, None)
    assert "key-1" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_what_is_malformed_beside_the_key_is_passed_over(home):
    (home / ".toolhouse").write_text("nonsense\nTOOLHOUSE_API_KEY=key-1\n")
    assert find_key(None, None) == "key-1"


posix = pytest.mark.skipif(os.name != "posix", reason="permissions and pipes of POSIX")


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_can_read_or_change_is_told_of_once(home, capsys, mode):
    file = home / ".toolhouse"
    file.write_text("TOOLHOUSE_API_KEY=key-1\n")
    file.chmod(mode)
    assert find_key(None, None) == "key-1"
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("Warning: other users of this machine may read or change ~/.toolhouse")
    assert f"(its mode is {mode:04o})" in err
    assert "chmod 600 ~/.toolhouse" in err
    assert "key-1" not in err


@posix
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_its_owner_alone_is_not_told_of(home, capsys, mode):
    file = home / ".toolhouse"
    file.write_text("TOOLHOUSE_API_KEY=key-1\n")
    file.chmod(mode)
    assert find_key(None, None) == "key-1"
    assert capsys.readouterr() == ("", "")


@posix
@pytest.mark.parametrize("given", ["option", "environment"])
def test_a_file_that_is_not_used_is_not_told_of(home, capsys, monkeypatch, given):
    (home / ".toolhouse").write_text("TOOLHOUSE_API_KEY=key-1\n")
    (home / ".toolhouse").chmod(0o644)
    if given == "environment":
        monkeypatch.setenv("TOOLHOUSE_API_KEY", "key-2")
    find_key("key-3" if given == "option" else None, None)
    assert capsys.readouterr() == ("", "")


@posix
def test_a_pipe_in_its_place_does_not_block(home):
    os.mkfifo(home / ".toolhouse")
    with pytest.raises(ConfigurationError, match=r"~/\.toolhouse cannot be read \(it is no regular file\)"):
        find_key(None, None)


@posix
def test_a_link_to_a_file_is_followed(home, capsys):
    (home / "real").write_text("TOOLHOUSE_API_KEY=key-1\n")
    (home / "real").chmod(0o600)
    (home / ".toolhouse").symlink_to(home / "real")
    assert find_key(None, None) == "key-1"
    assert capsys.readouterr() == ("", "")


def test_the_files_key_goes_to_no_other_service(home, monkeypatch):
    (home / ".toolhouse").write_text("TOOLHOUSE_API_KEY=key-1")
    for base_url in ("http://127.0.0.1:8000", "https://agents.toolhouse.ai.example.com", "http://agents.toolhouse.ai"):
        with pytest.raises(ConfigurationError, match="no API key: set TOOLHOUSE_API_KEY, or pass --api-key"):
            find_key(None, base_url)
    monkeypatch.setenv("TOOLHOUSE_BASE_URL", "http://127.0.0.1:8000")
    with pytest.raises(ConfigurationError, match="no API key"):
        find_key(None, None)


def test_a_file_that_cannot_be_read_is_named(home):
    (home / ".toolhouse").mkdir()
    with pytest.raises(ConfigurationError, match=r"~/\.toolhouse cannot be read"):
        find_key(None, None)


@pytest.mark.skipif(sys.platform == "win32", reason="finds a home without the environment")
def test_without_a_home_there_is_no_file(home, monkeypatch):
    monkeypatch.setenv("HOME", os.devnull)
    with pytest.raises(ConfigurationError, match="th login"):
        find_key(None, None)


def test_run_takes_it(home, cli):
    (home / ".toolhouse").write_text("TOOLHOUSE_API_KEY=not a key")
    done = cli("run", "a", "hello")
    assert done.returncode == 2
    assert "the API key holds spaces" in done.stderr
    assert "not a key" not in done.stderr


@pytest.mark.parametrize("arguments", [("run", "a", "hello"), ("serve-openai", "--model", "a=b")])
def test_without_one_a_command_says_what_to_do(home, cli, arguments):
    done = cli(*arguments)
    assert done.returncode == 2
    assert "th login" in done.stderr
