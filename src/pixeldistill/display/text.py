"""Numbers, lists and names in words, for the user."""

import json
import re
import reprlib
import shlex
from collections.abc import Iterable
from typing import Any

from pixeldistill.errors import Failure


def in_words(count: int, what: str) -> str:
    """Write a number of things in words.

    >>> in_words(1, "view"), in_words(20, "view"), in_words(2, "box")
    ('1 view', '20 views', '2 boxes')
    """
    return f"{count} {what}" + ("" if count == 1 else "es" if what.endswith("x") else "s")


def shown(value: object, most: int = 60) -> str:
    r"""Write a value from somebody's file so that it fits a line and cannot control a terminal.

    >>> print(shown("a\nb"), shown([1] * 90, 12))
    'a\nb' [1, 1, 1, 1,…
    """
    limited = reprlib.Repr()
    limited.maxstring = limited.maxother = limited.maxlong = limited.maxlist = limited.maxdict = limited.maxtuple = most
    text = printable(limited.repr(value))
    return text if len(text) <= most else f"{text[:most]}…"


def printable(text: str) -> str:
    r"""Write characters that no terminal shows (control characters, escape sequences, direction marks) as escapes.

    >>> print(printable("a\x1b[31mb\nc"), printable("Käfer 日本"))
    a\x1b[31mb\nc Käfer 日本
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def one_line(text: str, head: int = 700, tail: int = 200) -> str:
    r"""Put a message into one readable line: no characters that control a terminal, and no middle if it is very long.

    >>> one_line("a\nb\tc"), one_line("x" * 10, 4, 2)
    ('a b c', 'xxxx…xx')
    """
    line = printable(" ".join(text.split()))
    return line if len(line) <= head + tail + 1 else f"{line[:head]}…{line[-tail:]}"


def in_json(value: Any) -> str:  # noqa: ANN401
    r"""Write JSON in which names stay readable. Characters that `printable` escapes are escaped.

    >>> print(in_json("Käfer \u009b"))
    "Käfer \u009b"
    """
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def shell_word(text: str) -> str:
    r"""Quote a name for use in a shell command.

    >>> print(shell_word("a b"), shell_word("a\x1b'"))
    'a b' $'a\x1b\''
    """
    if text.isprintable():
        return shlex.quote(text)
    plain = re.sub(r"[\\']", r"\\\g<0>", text)
    return f"$'{''.join(c if c.isprintable() else _in_bytes(c) for c in plain)}'"


def _in_bytes(character: str) -> str:
    """Write a character byte by byte for a shell. A byte of a file's name that is not UTF-8 is written as it is."""
    half = "\ud800" <= character < "\udc80"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass" if half else "surrogateescape"))


def in_bytes(size: float) -> str:
    """Write a number of bytes with its unit.

    >>> in_bytes(512), in_bytes(2.5e6)
    ('512 B', '2.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def in_time(seconds: float) -> str:
    """Write a time in seconds, minutes, or hours and minutes.

    >>> in_time(42), in_time(200), in_time(7300)
    ('42 s', '3 min', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def reasons(failures: Iterable[Failure]) -> str:
    """Write failures in one line. Write a fix that several of them share only once.

    >>> reasons([Failure("a is nan", "lower it"), Failure("b is inf", "lower it"), Failure("c was not trained")])
    'a is nan, b is inf: lower it; c was not trained'
    """
    found: dict[str, list[str]] = {}
    for failure in failures:
        found.setdefault(failure.fix, []).append(failure.what)
    return "; ".join(", ".join(whats) + (f": {fix}" if fix else "") for fix, whats in found.items())
