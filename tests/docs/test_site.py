"""Links that lead nowhere, and pages that nobody finds, are noticed: ``nox -s docs`` looks at real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from .check_site import WANTED, clicks_from, faults, main, read, target

TEXT = '<nav><a href="{around}">around</a></nav><article role="main" id="furo-main-content">{text}</article>'


def site(folder: Path, **texts: str) -> Path:
    """Write pages with such texts; the first one links to all that is wanted, unless it has a text of its own."""
    wanted = dict.fromkeys(WANTED.values(), "")
    first = "".join(f'<a href="{where}">' for where in WANTED.values())
    for name, text in {**wanted, "index.html": first, **{f"{name}.html": text for name, text in texts.items()}}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT.format(around="#furo-main-content", text=text), "utf-8")
    return folder


def test_a_good_site_has_no_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    links = ("index.html#furo-main-content", "https://example.com/x", "../versions.html")
    good = site(tmp_path, other="".join(f'<a href="{link}">' for link in links))
    assert main(good) == 0
    assert f"{len(WANTED) + 2} pages" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('<a href="gone.html">', "index.html: no file for the link gone.html"),
        ('<a href="other.html#gone">', "index.html: no such place in other.html: other.html#gone"),
        ('<a href="#gone">', "index.html: no such place in index.html: #gone"),
    ],
)
def test_a_link_that_leads_nowhere_is_a_fault(tmp_path: Path, text: str, fault: str) -> None:
    pages = read(site(tmp_path, index=text, other=""))
    assert fault in faults(pages, set(pages))


def test_what_is_too_far_from_the_first_page_is_a_fault(tmp_path: Path) -> None:
    start = WANTED["how to start"]
    chain = {"index": '<a href="a.html">', "a": '<a href="b.html">', "b": f'<a href="{start}">'}
    pages = read(site(tmp_path, **chain))
    assert clicks_from(pages)[start] == 3
    assert not [each for each in faults(pages, set(pages)) if start in each]
    longer = {**chain, "b": '<a href="c.html">', "c": f'<a href="{start}">'}
    pages = read(site(tmp_path, **longer))
    assert f"{start} (how to start) is not 3 clicks or less from index.html" in faults(pages, set(pages))


def test_code_that_cannot_be_copied_is_a_fault(tmp_path: Path) -> None:
    code = '<div class="highlight-python notranslate"><div class="highlight"><pre>x</pre></div></div>'
    pages = read(site(tmp_path, bad=code, good=f'<script src="_static/copybutton.js?v=1"></script>{code}'))
    assert [each for each in faults(pages, set(pages)) if "copy" in each] == ["bad.html: no button to copy its code"]


def test_links_around_the_text_do_not_count(tmp_path: Path) -> None:
    path = site(tmp_path, other="") / "index.html"
    path.write_text(TEXT.format(around="other.html", text="<article></article><p>no link</p>"), "utf-8")
    assert clicks_from(read(tmp_path)) == {"index.html": 0}


def test_where_links_lead() -> None:
    assert target("a/b.html", "../c%20d.html#x") == ("c d.html", "x")
    assert target("a/b.html", "#x") == ("a/b.html", "x")
    assert target("a/b.html", "../../versions.html") == ("../versions.html", "")
    assert target("a/b.html", "mailto:x@example.com") is None
