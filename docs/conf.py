"""How the documentation is built."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from toolhouse_async import events

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.environment import BuildEnvironment

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "toolhouse-async"
author = "The toolhouse-async maintainers"
copyright = author  # noqa: A001 - the name is Sphinx's
version = release = installed_version(project)

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "command_reference",
    "fault_table",
    "performance_table",
    "shape_table",
    "turn_table",
]
exclude_patterns = ["_build", "_ext", "_templates"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False

# References to our own public names must resolve; other projects' indexes would have to be fetched.
nitpick_ignore_regex = [(r"py:.*", r"(?!toolhouse_async).*"), (r"py:.*", r".*\.[A-Z]")]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
templates_path = ["_templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/versions.html",
        "sidebar/scroll-end.html",
    ]
}
python_maximum_signature_line_length = 88


EVENT = "~toolhouse_async.events.Event"
EVERY_EVENT = " | ".join(f"~toolhouse_async.events.{event.__name__}" for event in get_args(events.Event))


def resolve_public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> Any:
    """Find a name of ours by its class alone: it is documented in one place and known by several modules."""
    package, *path = node.get("reftarget", "").split(".")
    while path and path[0].lstrip("_").islower():
        del path[0]
    if node.get("refdomain") != "py" or package != "toolhouse_async" or not path:
        return None
    node["refspecific"] = True
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", ".".join(path), node, content)


def show_public_bases(app: Sphinx, name: str, obj: type, options: object, bases: list[type]) -> None:
    """Put the bases of a private base in its place."""
    for base in [base for base in bases if base.__name__.startswith("_")]:
        bases[bases.index(base) : bases.index(base) + 1] = [each for each in base.__bases__ if each not in bases]


def shorten_signature(
    app: Sphinx, what: str, name: str, obj: type, options: object, signature: str | None, returns: str | None
) -> tuple[str, str] | None:
    """Say ``Event`` for all events, and ``Timeouts()`` for what is the default in all its parts.

    The arguments of what users do not make are left out: errors, and classes that a page names with ``()``.
    """
    if what == "exception" or (what == "class" and signature == "()"):
        return "", ""
    if signature is None:
        return None
    signature = re.sub(r"= ([A-Z]\w+)\([^()]*\)", r"= \1()", signature)
    return signature.replace(EVERY_EVENT, EVENT), (returns or "").replace(EVERY_EVENT, EVENT)


def shorten_types(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put the type of an attribute on its own line, without the private module that it is defined in."""
    directive = 0
    shortened: list[str] = []
    for line in lines:
        if line.startswith("   :type: "):
            shortened.insert(directive, re.sub(r"toolhouse_async(\.\w+)*\.(?=[A-Z])", "~toolhouse_async.", line))
        else:
            shortened.append(line)
        if line.startswith(".. attribute::"):
            directive = len(shortened)
    lines[:] = shortened


def say_the_version(app: Sphinx, config: Config) -> None:
    """Have the title say the version, also one that the build is told (``-D release=…``)."""
    config.html_title = f"{project} {config.release}"


def setup(app: Sphinx) -> None:
    app.connect("config-inited", say_the_version)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-process-docstring", shorten_types, priority=900)  # when napoleon has read it
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("missing-reference", resolve_public_name)
