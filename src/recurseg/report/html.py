"""Pages that open from disk: a template with styles and scripts inside."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup


def render_page(template: str, *, styles: Sequence[str], script: str, **content: Any) -> str:
    """Fills a template of `report/template`; names that it asks for and does not get are errors.

    Args:
        template: Its file.
        styles: Style sheets, in their order.
        script: Its script.
        **content: What the template shows.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("recurseg.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = files("recurseg.report") / "template"
    style = "\n".join((folder / name).read_text(encoding="utf-8") for name in styles)
    environment.globals["style"] = Markup(style)
    environment.globals["script"] = Markup((folder / script).read_text(encoding="utf-8"))
    return environment.get_template(template).render(**content)
