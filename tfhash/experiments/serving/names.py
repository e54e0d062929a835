"""The name under which a model is served."""

import pathlib

from tfhash.text import fits_address


def name_of(name, path):
    """The name for clients.

    Args:
        name: What the user gave, or `None` for that of the run or file.
        path: Run directory or model file.

    Raises:
        ValueError: If the name does not fit into an address.

    Example:

    >>> name_of(None, "runs/photos-32"), name_of(None, "photos.keras"), name_of("a.b", "photos.keras")
    ('photos-32', 'photos', 'a.b')
    """
    if name is not None:
        check(name)
        return name
    path = pathlib.Path(path)
    name = path.stem if path.suffix == ".keras" else path.resolve().name
    try:
        check(name)
    except ValueError as error:
        raise ValueError(f"{error}, from {path}. Give `name`") from None
    return name


def check(name):
    """Refuses a name that does not fit into an address.

    Raises:
        ValueError: If it does not.
    """
    if not fits_address(name):
        raise ValueError(
            "`name` must consist of letters, digits, hyphens, periods and underscores, and not begin "
            "with a hyphen or a period. Received: "
            f"name={name!r}"
        )
