"""Lists the versions in a folder of published documentation, and leads to the newest of them.

``python docs/versions.py SITE`` writes beside the folders of the versions: ``versions.html``, to which the pages of
each version link; ``versions.json``, the same for programs; and an ``index.html`` that leads to the newest version, a
release candidate only as long as there is nothing else.
"""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:rc(\d+))?")
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
{body}
</html>
"""


def newest_first(names: Iterable[str]) -> list[str]:
    """The names that are versions, a candidate behind the version that came of it."""
    found = {name: VERSION.fullmatch(name) for name in names}
    versions = [name for name, match in found.items() if match]
    return sorted(versions, key=lambda name: _order(VERSION.fullmatch(name)), reverse=True)


def _order(match: re.Match[str] | None) -> tuple[float, ...]:
    assert match is not None
    major, minor, patch, candidate = match.groups()
    return int(major), int(minor), int(patch), float("inf") if candidate is None else int(candidate)


def latest(versions: list[str]) -> str:
    """The version to begin with: the newest that is no candidate, if there is one."""
    return next((version for version in versions if "rc" not in version), versions[0])


def write(site: Path) -> None:
    """Write the list, for readers and for programs, and the way to the newest version.

    Args:
        site: The folder that holds a folder for each version.
    """
    versions = newest_first(each.name for each in site.iterdir() if each.is_dir())
    if not versions:
        raise ValueError(f"no version in {site}")
    first = latest(versions)
    listed = [{"version": version, "url": f"{version}/", "latest": version == first} for version in versions]
    (site / "versions.json").write_text(json.dumps(listed, indent=2) + "\n", "utf-8")
    rows = [
        f'<li><a href="{html.escape(version)}/index.html">{html.escape(version)}</a>{" (latest)" * (version == first)}'
        for version in versions
    ]
    body = "<h1>Versions of the documentation of toolhouse-async</h1>\n<ul>\n" + "\n".join(rows) + "\n</ul>"
    (site / "versions.html").write_text(PAGE.format(title="Versions", body=body), "utf-8")
    to = f'<meta http-equiv="refresh" content="0; url={first}/index.html">\n<p><a href="{first}/index.html">{first}</a>'
    (site / "index.html").write_text(PAGE.format(title="toolhouse-async", body=to), "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
