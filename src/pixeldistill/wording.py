"""Numbers and lists as a user reads them."""

from collections.abc import Iterable


def in_words(count: int, what: str) -> str:
    """Write a number of things.

    >>> in_words(1, "view"), in_words(20, "view"), in_words(2, "box")
    ('1 view', '20 views', '2 boxes')
    """
    return f"{count} {what}" + ("" if count == 1 else "es" if what.endswith("x") else "s")


def in_bytes(size: float) -> str:
    """Write a number of bytes.

    >>> in_bytes(512), in_bytes(2.5e6)
    ('512 B', '2.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def in_time(seconds: float) -> str:
    """Write a time to the second, minute or hour.

    >>> in_time(42), in_time(200), in_time(7300)
    ('42 s', '3 min', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def reasons(failures: Iterable[str]) -> str:
    """Write reasons of the form "what happened: what to do", saying only once what several of them end with.

    >>> reasons(["a is nan: lower it", "b is inf: lower it", "c was not trained"])
    'a is nan, b is inf: lower it; c was not trained'
    """
    found: dict[str, list[str]] = {}
    for failure in failures:
        what, _, mend = failure.partition(": ")
        found.setdefault(mend, []).append(what)
    return "; ".join(", ".join(whats) + (f": {mend}" if mend else "") for mend, whats in found.items())
