"""Damaging what is valid: bytes, texts and plain data, as a seed says."""

import contextlib
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 7, 10**7, 2**63, 2**70, -(2**70), 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"),
    "", " ", "x", "0", "1e9", "nan", "a" * 999, "../..", "/", "/dev/zero", "~", "~nobody/x", "a\0b", "a\nb", "\x1b[31m", "\u202e",
    "\ud800", "@teacher", "@", "pretrained", "none", "auto", "folder", "resnet18", "test_vit", "torchvision/x", [], {}, [[]],
    [None], {"": 1}, {"a": {"b": {"c": {}}}}, [1, "a", None], list(range(300)), [10**9] * 3, {"kind": "pkd"}, {"kind": "zzz"},
    {1: 2}, [["a", "b"]] * 3,
]  # fmt: skip
CHARACTERS = [" ", ",", "<", ">", "/", '"', ".", "0", "\n"]


class Damage:
    """Random damage; where it is not `on`, things stay as they are.

    Attributes:
        rng: for whatever else is chosen at random.
    """

    def __init__(self, rng: random.Random, *, on: bool = True) -> None:
        self.rng, self.on = rng, on

    def now(self, probability: float) -> bool:
        """Decide whether something is damaged."""
        return self.on and self.rng.random() < probability

    def bytes(self, content: bytes) -> bytes:
        """Flip bits, cut, repeat, insert, overwrite: one to eight times."""
        if not self.on:
            return content
        rng, data = self.rng, bytearray(content)
        for _ in range(rng.choice([1, 1, 2, 4, 8])):
            if not data:
                break
            start = rng.randrange(len(data) if rng.random() < 0.5 else min(len(data), 200))
            length = rng.choice([1, 1, 2, 4, 16, 200])
            match rng.randrange(7):
                case 0:
                    data[start] ^= 1 << rng.randrange(8)
                case 1:
                    data[start : start + length] = rng.randbytes(length)
                case 2:
                    del data[start : start + length]
                case 3:
                    data[start:start] = rng.randbytes(length)
                case 4:
                    del data[start:]
                case 5:
                    extreme = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\x80"]
                    data[start : start + 4] = rng.choice(extreme)
                case 6:
                    other = rng.randrange(len(data))
                    data[start:start] = data[other : other + length]
        return bytes(data)

    def text(self, text: str) -> bytes:  # type: ignore[valid-type]  # `bytes` is a method here
        """Change a text by its lines and fields, or as bytes."""
        if not self.on:
            return text.encode()
        rng = self.rng
        if rng.random() < 0.3:
            return self.bytes(text.encode())
        lines = text.split("\n")
        for _ in range(rng.choice([1, 2, 5])):
            i = rng.randrange(len(lines))
            fields = lines[i].replace(",", " , ").split(" ")
            match rng.randrange(6):
                case 0:
                    fields[rng.randrange(len(fields))] = str(rng.choice(ODD))
                    lines[i] = " ".join(fields)
                case 1:
                    lines.insert(i, rng.choice(lines))
                case 2:
                    del lines[i]
                    lines = lines or [""]
                case 3:
                    lines[i] = lines[i].replace(rng.choice(CHARACTERS), rng.choice(["", ";", "\t", "\0", "&x;", "\\"]))
                case 4:
                    lines[i] *= rng.choice([2, 100])
                case 5:
                    rng.shuffle(lines)
        return "\n".join(lines).encode("utf-8", "surrogatepass")

    def value(self, content: Any) -> Any:  # noqa: ANN401
        """Change values, keys or the structure of plain data, one to four times."""
        if not self.on:
            return content
        content = json.loads(json.dumps(content))
        for _ in range(self.rng.choice([1, 1, 1, 2, 4])):
            places = list(_places(content))
            if not places:
                return self.rng.choice(ODD)
            self._change(*self.rng.choice(places), places)
            try:
                json.dumps(content)
            except (ValueError, RecursionError, TypeError):  # it holds itself, or keys that JSON does not have
                return self.rng.choice(ODD)
        return content

    def place(self, folder: Path) -> None:
        """Put something else where a file of a folder is: a pipe, a folder, a dead link, gigabytes of zeros."""
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        if not self.on or not files:
            return
        path = self.rng.choice(files)
        match self.rng.randrange(5):
            case 0:
                path.unlink()
                os.mkfifo(path)
            case 1:
                path.unlink()
                path.mkdir()
            case 2:
                path.unlink()
                path.symlink_to("nowhere")
            case 3:
                os.truncate(path, self.rng.choice([3, 20]) * 10**9)
            case 4:
                path.unlink()

    def _change(self, holder: Any, key: Any, places: list[tuple[Any, Any]]) -> None:  # noqa: ANN401
        rng = self.rng
        match rng.randrange(8):
            case 0 | 1 | 2:
                holder[key] = rng.choice(ODD)
            case 3:
                del holder[key]
            case 4:
                other, place = rng.choice(places)
                with contextlib.suppress(LookupError, TypeError):
                    holder[key] = json.loads(json.dumps(other[place]))
            case 5 if isinstance(holder, dict):
                name = rng.choice([str(key) + "x", str(key).upper(), "", "\x1b[0m", "a" * 300, str(key)[:-1]])
                holder[name] = holder.pop(key)
            case 6:
                value = holder[key]
                holder[key] = value[:1] if isinstance(value, list) else [value] * rng.choice([0, 1, 2, 50])
            case 7 if isinstance(holder[key], str):
                letters = rng.sample(holder[key], len(holder[key]))
                holder[key] = "".join(letters) + rng.choice(["", "\n", "é", "\0", "%s", "'"])
            case _:
                holder[key] = {"value": holder[key]}


def _places(content: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    """List every place of plain data: what holds it, and its key or number."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ():
        yield content, key
        yield from _places(value)
