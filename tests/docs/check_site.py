"""The pages that Sphinx has made for a browser, as a reader goes through them.

``python -m tests.docs.check_site docs/_build/html`` checks that every link leads somewhere, and that a stranger finds
from the first page what is needed first, by the links within the text, and that code can be copied.
"""

from __future__ import annotations

import posixpath
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import Factory, define

FIRST = "index.html"
CLICKS = 3
WANTED = {
    "how to start": "tutorial/index.html",
    "how to test": "how-to/testing.html",
    "what happens on a cut": "explanation/network.html",
    "what it costs": "explanation/performance.html",
    "how to get help with a stuck job": "how-to/stuck-job.html",
    "what an upgrade asks for": "project/upgrade.html",
}
"""What a stranger looks for, and where it is."""
OUTSIDE = {"../versions.html"}
"""What stands beside the folder of a version."""


@define
class Page(HTMLParser):
    """A page's links and the places that links may lead to.

    Attributes:
        links: Where links of the whole page lead.
        told: Where links within its text lead: not those of the tables of contents around it.
        places: The ids of its elements.
        has_code: Whether it shows code.
        can_copy: Whether it loads the script that gives code a button to copy it.
    """

    links: list[str] = Factory(list)
    told: list[str] = Factory(list)
    places: set[str] = Factory(set)
    has_code: bool = False
    can_copy: bool = False
    _depth: int = 0

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        having = dict(attrs)
        self.places |= {value for name, value in attrs if name in ("id", "name") and value}
        self.has_code |= tag == "div" and "highlight" in str(having.get("class")).split()
        self.can_copy |= tag == "script" and "/copybutton.js" in str(having.get("src"))
        if tag == "article" and (having.get("role") == "main" or having.get("id") == "furo-main-content"):
            self._depth = 1
        elif tag == "article" and self._depth:
            self._depth += 1
        if tag == "a" and having.get("href"):
            self.links.append(str(having["href"]))
            if self._depth:
                self.told.append(str(having["href"]))

    def handle_endtag(self, tag: str) -> None:
        if tag == "article" and self._depth:
            self._depth -= 1


def read(html: Path) -> dict[str, Page]:
    """All pages of a folder, by their paths in it."""
    pages = {}
    for path in sorted(html.rglob("*.html")):
        page = Page()
        page.feed(path.read_text("utf-8"))
        pages[path.relative_to(html).as_posix()] = page
    return pages


def target(page: str, link: str) -> tuple[str, str] | None:
    """The file and the place in it to which a link of a page leads; ``None`` where it leaves the site."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path))) if parts.path else page
    return path, unquote(parts.fragment)


def clicks_from(pages: dict[str, Page], first: str = FIRST) -> dict[str, int]:
    """How many links within texts lead from a page to each that can be reached."""
    found, edge = {first: 0}, [first]
    while edge:
        page = edge.pop(0)
        for link in pages[page].told:
            to = target(page, link)
            if to is not None and to[0] in pages and to[0] not in found:
                found[to[0]] = found[page] + 1
                edge.append(to[0])
    return found


def faults(pages: dict[str, Page], files: set[str]) -> list[str]:
    """What is wrong with the links and the code of a site.

    Args:
        pages: Its pages.
        files: All its files, the pages among them.
    """
    found = []
    for name, page in pages.items():
        if page.has_code and not page.can_copy:
            found.append(f"{name}: no button to copy its code")
        for link in page.links:
            to = target(name, link)
            if to is None or to[0] in OUTSIDE:
                continue
            if to[0] not in files:
                found.append(f"{name}: no file for the link {link}")
            elif to[0] in pages and to[1] and to[1] not in pages[to[0]].places:
                found.append(f"{name}: no such place in {to[0]}: {link}")
    clicks = clicks_from(pages)
    for what, where in WANTED.items():
        if clicks.get(where, CLICKS + 1) > CLICKS:
            found.append(f"{where} ({what}) is not {CLICKS} clicks or less from {FIRST}")
    return found


def main(html: Path) -> int:
    """Check a site; return the number of faults."""
    pages = read(html)
    files = {path.relative_to(html).as_posix() for path in html.rglob("*") if path.is_file()}
    found = faults(pages, files)
    for each in found:
        print(each)
    print(f"{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links, {len(found)} faults")
    return len(found)


if __name__ == "__main__":
    sys.exit(min(main(Path(sys.argv[1])), 1))
