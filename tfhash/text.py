"""Names that users chose, made safe to print and to draw."""

import re
import unicodedata


def escaped(text):
    r"""Text whose undecodable bytes, as file names may hold, are escaped so that it can be printed.

    Example:

    >>> import os
    >>> escaped(os.fsdecode(b"caf\xe9.jpg"))
    'caf\\xe9.jpg'
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # other surrogates, which no file name holds
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


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
    name = escaped(str(name))
    name = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl") else c for c in name)
    if len(name) <= longest:
        return name
    kept = longest - 1
    return f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"


def fits_address(name):
    """Whether a name can be used in a URL and in a shell without quotes.

    It begins with a letter, a digit or an underscore; hyphens and periods may follow, too.

    Example:

    >>> fits_address("photos-32"), fits_address("my photos"), fits_address("a/b"), fits_address("")
    (True, False, False, False)
    """
    return re.fullmatch(r"\w[\w.\-]*", name) is not None


def listing(names, most=5):
    """The first names of a list, each on one line, and how many more there are.

    Example:

    >>> listing(["cat", "dog", "eel"], most=2)
    'cat, dog and 1 more'
    """
    shown = ", ".join(printable(name, longest=200) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
