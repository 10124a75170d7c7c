"""What the pages say of versions and of what is supported is what the project's files have."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import Any

import toolhouse_async

from .blocks import ROOT
from .installs import all_steps

VERSION = toolhouse_async.__version__
PAGE = (ROOT / "docs/project/support.md").read_text("utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FOR_USERS = PROJECT["optional-dependencies"].keys() - {"test", "thorough", "docs", "lint", "benchmark", "typing", "dev"}


def table(head: str) -> list[list[str]]:
    """The rows of the page's table that begins so."""
    below = PAGE.partition(f"\n{head}\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert below
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in below]


def workflow(name: str) -> str:
    return (ROOT / f".github/workflows/{name}.yml").read_text("utf-8")


SUPPORTED = [version for version, *_ in table("| Python | until | tested |")]
TRIED = [version.partition(",")[0] for version, *_ in table("| Python | tested | in the way |")]


def test_the_supported_pythons_are_those_that_are_tested() -> None:
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    tested = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SUPPORTED"
    )
    assert list(tested) == SUPPORTED
    named = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in PROJECT["classifiers"]]
    assert [each[1] for each in named if each] == SUPPORTED
    assert PROJECT["requires-python"] == f">={SUPPORTED[0]}"
    assert re.findall(r"^ {12}(3\.\d+)$", workflow("checks"), re.MULTILINE) == SUPPORTED[::-1]


def test_what_is_tried_is_in_the_workflows() -> None:
    assert TRIED == ["3.15", "3.14t"]
    assert f'python-version: "{TRIED[1]}"' in workflow("checks")
    assert f'python: ["{SUPPORTED[-1]}", "{TRIED[0]}"]' in workflow("nightly")
    assert "nox -s prereleases" in workflow("nightly")


def test_known_advisories_are_looked_for_every_night() -> None:
    assert re.search(r"^  schedule:\n    - cron: \"\d+ \d+ \* \* \*\"$", workflow("nightly"), re.MULTILINE)
    assert re.search(r"^      - run: nox -s audit$", workflow("nightly"), re.MULTILINE)


def test_the_lowest_versions_are_those_of_the_project() -> None:
    rows = table("| package | from | in |")
    written = {(name.strip("`"), lowest): set(places.split(", ")) for name, lowest, places in rows}
    needed: dict[tuple[str, str], set[str]] = {}
    listed = {
        "the core": PROJECT["dependencies"],
        **{f"`{name}`": PROJECT["optional-dependencies"][name] for name in FOR_USERS},
    }
    for place, requirements in listed.items():
        for requirement in requirements:
            name, _, lowest = requirement.partition(">=")
            if lowest:
                needed.setdefault((name.partition("[")[0], lowest), set()).add(place)
            else:
                assert requirement.startswith("toolhouse-async[")
    assert written == needed
    uvloop = next(each for each in PROJECT["optional-dependencies"]["test"] if each.startswith("uvloop"))
    assert f"uvloop from {uvloop.partition('>=')[2]}" in PAGE


def test_the_state_of_the_project_is_that_of_its_version() -> None:
    (state,) = [each for each in PROJECT["classifiers"] if each.startswith("Development Status")]
    assert state.endswith("Beta" if "rc" in VERSION else "Production/Stable")


def test_the_version_stands_in_one_place() -> None:
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    assert "toolhouse_async/_version.py" in workflow("release")


def test_a_candidate_is_installed_by_its_name_and_the_page_says_which() -> None:
    pinned = {
        each for step in all_steps() for each in step.install.requirements if each.startswith("toolhouse-async==")
    }
    assert pinned == ({f"toolhouse-async=={VERSION}"} if "rc" in VERSION else set())


def test_the_version_has_its_place_in_changelog_and_upgrade_notes() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert first[:2] == ["Unreleased", VERSION]
    assert VERSION != "1.0.0rc1" or "## To 1.0.0rc1" in (ROOT / "docs/project/upgrade.md").read_text("utf-8")
