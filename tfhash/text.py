"""Names that users chose, made safe to print and to draw."""

import unicodedata


def printable(name, longest=60):
    """A name on one line, without control characters, shortened in the middle.

    Args:
        name: A string; file names that are not valid UTF-8 may hold lone surrogates.
        longest: Characters to keep, >= 3.

    Returns:
        A string that any terminal and any picture can show.

    Example:

    >>> printable("two\\nlines"), printable("a" * 99, longest=7)
    ('two lines', 'aaa…aaa')
    """
    name = str(name).encode("utf-8", "backslashreplace").decode("utf-8")
    name = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl") else c for c in name)
    if len(name) <= longest:
        return name
    kept = longest - 1
    return f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"


def listing(names, most=10):
    """The first names of a list, and how many more there are.

    Example:

    >>> listing(["cat", "dog", "eel"], most=2)
    'cat, dog and 1 more'
    """
    shown = ", ".join(printable(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
