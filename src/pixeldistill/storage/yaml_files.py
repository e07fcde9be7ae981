"""Reading YAML from any source. Only plain values are built, and only up to sensible limits."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from pixeldistill.display.text import printable, shown
from pixeldistill.errors import PixelDistillError
from pixeldistill.storage.files import read_text

LARGEST = 2**20  # bytes of a file
MOST = 50_000  # values, with every mention of an anchor counted
DEEPEST = 100  # levels of nesting

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentTooLarge(yaml.YAMLError):
    """A document that is too large after expanding its anchors, or nested too deeply."""


class _Loader(_Safe):  # type: ignore[misc]
    """YAML loader that refuses a repeated key instead of using the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key that is a list or a mapping", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{shown(key)} is given twice", node.start_mark)
            seen.add(key)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def parse_yaml(text: str) -> Any:  # noqa: ANN401
    """Parse YAML into plain values. Raise yaml.YAMLError, also for content that is nested too deeply or too large."""
    _measure(text)
    try:
        return yaml.load(text, _Loader)
    except (ValueError, OverflowError) as error:  # an invalid date, a number of thousands of digits
        told = str(error)
        raise DocumentTooLarge("a number of thousands of digits" if "digits" in told else told) from error


def read_yaml(path: Path, error: type[PixelDistillError], prefix: str = "") -> Any:  # noqa: ANN401
    """Read a YAML file.

    Args:
        path: path of the file.
        error: error to raise if it cannot be read or is not YAML.
        prefix: start of the error's message.
    """
    return parsed(read_text(path, error, prefix, LARGEST), f"{prefix}{path}", error)


def parsed(text: str, name: str, error: type[PixelDistillError]) -> Any:  # noqa: ANN401
    """Parse a file's text. Raise the error if it is not YAML."""
    try:
        return parse_yaml(text)
    except yaml.YAMLError as failure:
        raise error(f"{name} is not YAML: {describe(failure)}") from failure


def shared_settings(text: str) -> set[str]:
    """Return the settings whose value has an anchor that is used elsewhere. Some exist only for that."""
    depth, key, at, mentioned = 0, None, {}, set()
    for event in yaml.parse(text, _Safe):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if not isinstance(event, yaml.NodeEvent):
            continue
        anchor = str(event.anchor) if event.anchor else None
        if isinstance(event, yaml.AliasEvent):
            mentioned.add(anchor)
        if depth == 1:  # keys and values alternate
            if key is not None and anchor and not isinstance(event, yaml.AliasEvent):
                at[anchor] = key
            key = (event.value if isinstance(event, yaml.ScalarEvent) else "") if key is None else None
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
    return {name for anchor, name in at.items() if anchor in mentioned}


def describe(error: yaml.YAMLError) -> str:
    """Describe in one line what is wrong with a document."""
    return printable(" ".join(str(error).split()))[:300]


def _measure(text: str) -> None:
    """Raise DocumentTooLarge if a document has too many values, with all anchors expanded, or too many levels."""
    anchors: dict[str, int] = {}  # number of values that each stands for; 0 while it is being read
    within: list[tuple[str | None, int]] = []  # anchor of every open collection, and its values so far
    for event in yaml.parse(text, _Safe):
        if isinstance(event, yaml.CollectionStartEvent):
            within.append((event.anchor, 1))
            if event.anchor:
                anchors[event.anchor] = 0
            if len(within) > DEEPEST:
                raise DocumentTooLarge(f"it is nested more than {DEEPEST} levels deep")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, count = within.pop()
        elif isinstance(event, yaml.AliasEvent):
            anchor, count = None, anchors.get(str(event.anchor), 1)
            if not count:
                raise DocumentTooLarge(f"anchor {shown(event.anchor)} holds itself")
        elif isinstance(event, yaml.ScalarEvent):
            anchor, count = event.anchor, 1
        else:
            continue
        if anchor:
            anchors[anchor] = count
        if within:
            within[-1] = (within[-1][0], within[-1][1] + count)
            if within[-1][1] > MOST:
                raise DocumentTooLarge(f"it stands for more than {MOST} values")
