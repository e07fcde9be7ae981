"""Parts of the site that are written from the code: the recipe, its losses and the command line.

mkdocs calls `on_page_markdown` for each page; a line `<!-- recipe -->` in it, for example, becomes the tables of the schema.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pixeldistill.cli.app import app
from pixeldistill.recipe.losses import EVERY_TASK, Loss, losses
from pixeldistill.recipe.recipe import Recipe

ROOT = Path(__file__).parent.parent


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the generated parts into a page."""
    for name, write in _PARTS.items():
        if f"<!-- {name} -->" in markdown:
            markdown = markdown.replace(f"<!-- {name} -->", write())
    return markdown


def _recipe() -> str:
    """Write a table for each part of a recipe."""
    text = ""
    for model in _models(Recipe):
        if issubclass(model, Loss):
            continue
        title = "A recipe" if model is Recipe else _where(model)
        text += f"\n## {title}\n\n{_first(model)}\n\n{_table(model)}\n"
    return text


def _losses() -> str:
    text = ""
    for kind, loss in losses().items():
        tasks = "every task" if EVERY_TASK in loss.computed_by else " and ".join(loss.computed_by)
        text += f"\n## {kind}\n\n{_first(loss)} For {tasks}.\n"
        if loss.published:
            text += f"\nIn comparisons, `{kind}` has its paper's settings: {_published(loss)}.\n"
        own = {name: field for name, field in loss.model_fields.items() if name not in Loss.model_fields and name != "kind"}
        if own:
            text += f"\n{_rows(own)}\n"
    return text


def _published(loss: type[Loss]) -> str:
    settings = next(iter(loss.published.values()))
    said = [f"{name} {value}" for name, value in settings.items()] or ["its defaults"]
    if loss.published_warmup:
        said.append(f"a weight that rises over the first {loss.published_warmup} of the epochs")
    return ", ".join(said)


def _command_line() -> str:
    command: Any = typer.main.get_command(app)
    text = ""
    for name, sub in command.commands.items():
        arguments = " ".join(_argument(p) for p in sub.params if p.param_type_name == "argument")
        text += f"\n## {name}\n\n    pixeldistill {name} [OPTIONS] {arguments}\n\n{_inline(_paragraph(sub.help))}\n\n"
        rows = [
            f"| {', '.join(f'`{o}`' for o in (*p.opts, *p.secondary_opts))} | {_inline(p.help or '')} |"
            for p in sub.params
            if p.param_type_name == "option" and p.name != "help"
        ]
        text += "\n".join(["| option | what it does |", "|---|---|", *rows]) + "\n"
    return text


def _argument(parameter: Any) -> str:
    name = parameter.name.upper() + (" …" if parameter.nargs < 0 else "")
    return name if parameter.required else f"[{name}]"


def _contributing() -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]+)\]\((?!http|#)[^)]+\)", r"`\1`", text)  # files of the repository are no pages of the site


_PARTS: dict[str, Callable[[], str]] = {
    "recipe": _recipe, "losses": _losses, "command line": _command_line, "contributing": _contributing,
}  # fmt: skip


def _models(root: type[BaseModel]) -> list[type[BaseModel]]:
    """List the parts of a recipe, each once, in the order in which they come."""
    found = [root]
    for model in found:
        for field in model.model_fields.values():
            found += [other for other in _inside(field.annotation) if other not in found]
    return found


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inside(part)


def _where(model: type[BaseModel]) -> str:
    """Name the keys under which a part stands in a recipe."""
    named = {
        "DetectorSettings": "detector", "Network": "A network", "StageEntry": "stages", "Method": "compare",
        "TeacherCache": "teacher_cache", "Candidates": "candidates",
    }  # fmt: skip
    return named.get(model.__name__, model.__name__.lower())


def _table(model: type[BaseModel]) -> str:
    return _rows(model.model_fields)


def _rows(fields: dict[str, FieldInfo]) -> str:
    rows = [
        f"| `{name}` | {_type(field)}{_default(field)} | {_inline(field.description or '')} |" for name, field in fields.items()
    ]
    return "\n".join(["| key | value | meaning |", "|---|---|---|", *rows])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ", **required**"
    value = field.default if field.default is not PydanticUndefined else None
    if value is None or value == () or isinstance(value, BaseModel):
        return ""
    text = str(value).lower() if isinstance(value, bool) else f"{value:.4g}" if isinstance(value, float) else value
    return f"; default `{list(text) if isinstance(text, tuple) else text}`"


def _type(field: FieldInfo) -> str:
    return " or ".join(dict.fromkeys(_words(field.annotation)))


_WORDS = {"int": "integer", "float": "number", "str": "text", "bool": "true or false", "Path": "path", "StageRef": "`@stage`"}


def _words(annotation: Any) -> Iterator[str]:
    origin = get_origin(annotation)
    if origin is Literal:
        yield from (f"`{value}`" for value in get_args(annotation))
    elif annotation is type(None):
        return
    elif origin in (tuple, list):
        inner = [part for part in get_args(annotation) if part is not Ellipsis]
        yield "list of " + " or ".join(dict.fromkeys(word for part in inner for word in _words(part)))
    elif origin is dict:
        yield "mapping"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield (
            "[losses](losses.md)"
            if annotation is Loss
            else f"[{_where(annotation)}](#{_where(annotation).lower().replace(' ', '-')})"
        )
    elif isinstance(annotation, type):
        yield _WORDS.get(annotation.__name__, annotation.__name__)
    else:
        for part in get_args(annotation):
            yield from _words(part)


def _first(thing: Any) -> str:
    return _inline(_paragraph(thing.__doc__))


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n", maxsplit=1)[0].split())


def _inline(text: str) -> str:
    """Keep a text in its table's cell, and what looks like a tag from being one."""
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")
