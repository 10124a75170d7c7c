"""Puts what programs read beside the pages for a browser: Markdown copies, ``llms.txt`` and ``llms-full.txt``.

``python docs/llms.py MARKDOWN HTML`` takes the pages that Sphinx's builder ``markdown`` has made, with the whole
reference in them. ``llms.txt`` (https://llmstxt.org) names each page and says in a sentence what it is about; the other
file has all of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARKERS = re.compile(r"^(?:<!-- [\w-]+(?:: [^>]*)? -->|<a id=.*></a>)\n+", re.MULTILINE)
"""What tests and links need, and no reader."""


def pages_in_order(page: str = "index") -> Iterator[str]:
    """The names of the pages as the tables of contents have them."""
    yield page
    for tree in TOCTREE.findall((DOCS / f"{page}.md").read_text("utf-8")):
        for line in tree.splitlines():
            if line and not line.startswith(":"):
                yield from pages_in_order((Path(page).parent / line).as_posix())


def title_of(text: str) -> str:
    """The first heading."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"no title: {text[:100]!r}")
    return found[1]


def sentence_of(text: str) -> str:
    """The first sentence that stands before the first section, without its links; ``""`` where there is none."""
    opening = re.split(r"^#{1,3} ", text, maxsplit=2, flags=re.MULTILINE)[1].partition("\n")[2]
    for paragraph in opening.split("\n\n"):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
        if re.match(r"[A-Z`]\S* ", plain) and not plain.startswith("To run the examples"):
            return re.split(r"(?<=[.?])\s", plain)[0].rstrip(":")
    return ""


def write(markdown: Path, html: Path) -> None:
    """Copy the pages, and write the two files.

    Args:
        markdown: What the builder ``markdown`` has made.
        html: What the builder ``html`` has made.
    """
    names = list(pages_in_order())
    texts = {name: MARKERS.sub("", (markdown / f"{name}.md").read_text("utf-8")) for name in names}
    first = texts["index"]
    summary = " ".join(first.partition("\n\n")[2].partition("\n\n")[0].split())
    listed = [f"# {title_of(first)}", f"> {summary}"]
    for section in dict.fromkeys(name.partition("/")[0] for name in names[1:]):
        rows = [name for name in names if name.startswith(f"{section}/")]
        lines = [
            f"- [{title_of(texts[name])}]({name}.md): {sentence_of(texts[name])}".removesuffix(": ") for name in rows
        ]
        listed += [f"## {section.capitalize()}", "\n".join(lines)]
    (html / "llms.txt").write_text("\n\n".join(listed) + "\n", "utf-8")
    (html / "llms-full.txt").write_text("\n\n".join(texts.values()) + "\n", "utf-8")
    for name, text in texts.items():
        (html / f"{name}.md").write_text(text, "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
