"""How Sphinx builds the documentation: `make docs`."""

import click
from sphinx.application import Sphinx

import hvd

project = "Handcrafted versus deep"
version = release = hvd.__version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_click",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
numpydoc_validation_checks = set()
autodoc_typehints = "none"
autodoc_member_order = "bysource"
default_role = "code"
smartquotes = False

html_theme = "pydata_sphinx_theme"
html_title = project
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
}


def add_ranges(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Add the allowed range to every option that has one."""
    for param in context.command.params:
        if not isinstance(param.type, click.IntRange | click.FloatRange):
            continue
        low = f"{param.type.min:,}"
        high = "" if param.type.max is None else f" to {param.type.max:,}"
        start = f".. option:: {param.opts[0]} "
        place = next(
            k for k, line in enumerate(lines) if line.startswith(start)
        )
        lines[place + 1 : place + 1] = ["", f"    From {low}{high}."]


def setup(app: Sphinx) -> None:
    app.connect("sphinx-click-process-options", add_ranges)
