"""URLs of engines, and how to show them."""

import urllib.parse


class Address:
    """What a URL says, and the same without its password.

    Args:
        url: `scheme://user:password@host:port/database?option=value`.

    Raises:
        ValueError: If it is malformed. The message does not show the URL, which may hold a
            password.

    Example:

    >>> address = Address("clickhouse://ada:secret@127.0.0.1:8123/photos")
    >>> address.shown, address.password
    ('clickhouse://ada@127.0.0.1:8123/photos', 'secret')
    """

    def __init__(self, url):
        self.url = url
        try:
            parts = urllib.parse.urlsplit(url)
            self.host, self.port = parts.hostname or "127.0.0.1", parts.port
            self.options = dict(
                urllib.parse.parse_qsl(parts.query, strict_parsing=bool(parts.query))
            )
        except ValueError:
            raise ValueError(
                "`url` must be scheme://user:password@host:port/database, with special characters "
                "of user and password in percent-encoding. Received: another form, not shown "
                "because it may hold a password"
            ) from None
        self.user = urllib.parse.unquote(parts.username or "")
        self.database = urllib.parse.unquote(parts.path.lstrip("/"))
        self.password = urllib.parse.unquote(parts.password or "")
        self._secrets = [self.options.get("password", ""), self.password, parts.password or ""]
        host = parts.netloc.rpartition("@")[2]
        user = f"{parts.username}@" if parts.username else ""
        self.shown = f"{parts.scheme}://{user}{host}{parts.path}"

    def without_password(self, text):
        """A text without the password, should it be in it."""
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        return text
