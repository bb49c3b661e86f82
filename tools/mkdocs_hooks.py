"""Writes tables of the reference from the code and the ledger.

A page says `<!-- commands -->`, `<!-- fields: Class -->` or `<!-- results: PAPER/TABLE -->`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import textwrap
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of each page."""
    markdown = re.sub(r"<!-- commands -->", lambda _: command_tables(), markdown)
    markdown = re.sub(r"<!-- fields: ([\w.]+) -->", lambda found: field_tables(found[1]), markdown)
    return re.sub(r"<!-- results: ([\w/]+) -->", lambda found: result_tables(found[1]), markdown)


def result_tables(id: str) -> str:
    """What the ledger under docs/results holds of a paper's table: numbers, sections, plots."""
    from recurseg.experiments import find_table, show, stored

    table, results = find_table(id), Path(__file__).parents[1] / "docs" / "results"
    entries = stored(table, results)
    parts = [show.markdown(table, entries)]
    if by_section := show.sections_markdown(table, entries):
        parts += ["Section by section:", by_section]
    for plot in sorted((results / id).glob("*/*/*.svg")):
        parts.append(f"![{id}: {plot.stem}](../results/{plot.relative_to(results)})")
    return "\n\n".join(parts)


def command_tables() -> str:
    """A section a command: what it does, how it is called, its arguments and options."""
    import typer

    from recurseg.cli.main import build_command

    group = build_command()
    sections = []
    with typer.Context(group, info_name="recurseg") as context:
        for name, command in group.commands.items():
            with typer.Context(command, info_name=name, parent=context) as inner:
                arguments = [p.name.upper() for p in command.params if p.param_type_name == "argument"]
                rows = [_row(parameter, inner) for parameter in command.params]
            sections.append(
                f"## recurseg {name}\n\n{inspect.cleandoc(command.help or '')}\n\n"
                f"    {' '.join(['recurseg', name, *arguments])} [OPTIONS]\n\n"
                "| argument or option | value | default | what it does |\n|---|---|---|---|\n" + "\n".join(rows)
            )
    return "\n\n".join(sections)


def field_tables(path: str) -> str:
    """A table of a pydantic model's keys, and one of each model inside it."""
    module, _, name = path.rpartition(".")
    models: list[type[BaseModel]] = [getattr(importlib.import_module(module), name)]
    tables = []
    for model in models:
        texts = _docstrings(model)
        rows = []
        for key, field in model.model_fields.items():
            inside = [a for a in _parts(field.annotation) if inspect.isclass(a) and issubclass(a, BaseModel)]
            models += [other for other in inside if other not in models]
            rows.append(f"| `{key}` | {_code(_kind(field.annotation))} | {_default(field)} | {texts.get(key, '')} |")
        heading = f"## {model.__name__}\n\n{inspect.cleandoc(model.__doc__ or '')}\n\n"
        tables.append(heading + "| key | value | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(tables)


def _row(parameter: Any, context: Any) -> str:
    names = [*parameter.opts, *parameter.secondary_opts]
    label = ", ".join(names) if parameter.param_type_name == "option" else parameter.name.upper()
    value = parameter.metavar or parameter.display_type(context).strip("<>")
    value = "" if value == "bool" else value
    default = "required" if parameter.required else parameter.default
    shown = "" if default is None or default is False else default if parameter.required else _code(default)
    return f"| `{label}` | {_code(value) if value else ''} | {shown} | {_cell(parameter.help or '')} |"


def _docstrings(model: type) -> dict[str, str]:
    """The docstring under each field."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0].body  # type: ignore[attr-defined]
    found = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[field.target.id] = _cell(str(text.value.value))  # type: ignore[union-attr]
    return found


def _parts(annotation: Any) -> list[Any]:
    inner = [part for argument in getattr(annotation, "__args__", ()) for part in _parts(argument)]
    return [annotation, *inner]


def _kind(annotation: Any) -> str:
    if inspect.isclass(annotation) and not getattr(annotation, "__args__", None):
        return annotation.__name__
    text = re.sub(r"(?:\w+\.)+(\w+)", r"\1", str(annotation))
    text = re.sub(r"Annotated\[(\w+), .*?\)\]", r"\1", text)
    text = re.sub(r"Optional\[(\w+)\]", r"\1 | None", text)
    return text.replace("Literal[", "one of [").replace("None", "null")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return "below"
    return "`null`" if default is None else _code(default) if default != "" else ""


def _code(value: Any) -> str:
    text = str(value).replace("|", "\\|")
    return f"`{text}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
