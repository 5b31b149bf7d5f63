"""Pages from the templates beside: escaped everywhere, self-contained."""

from __future__ import annotations

from importlib import resources
from typing import Any


def render(name: str, **values: Any) -> str:
    """A page from a template of ``templates/``; every value is escaped, and one that is missing is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**values)


def _template(name: str) -> str:
    return resources.files("cadx.evaluate").joinpath("templates", name).read_text(encoding="utf-8")
