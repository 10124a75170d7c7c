"""How the documentation is built."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "toolhouse-async"
author = "The toolhouse-async maintainers"
copyright = author  # noqa: A001 - the name is Sphinx's
version = release = installed_version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "examples"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"Event": "toolhouse_async.events.Event"}
napoleon_numpy_docstring = False

# References to our own names must resolve; other projects' indexes would have to be fetched.
nitpick_ignore_regex = [(r"py:.*", r"(?!toolhouse_async).*")]

html_theme = "furo"
html_title = f"{project} {release}"
