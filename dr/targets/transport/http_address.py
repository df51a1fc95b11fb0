"""The address of an HTTP service, as `dr.toml` may say it. Loads nothing of http.client."""

from urllib.parse import urlsplit


def check_address(url: str, instead: str) -> None:
    """Raises ValueError: it is none, or it holds a password, for which `instead` says a better place."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("url: write http://HOST:PORT or https://HOST:PORT, with a path if it has one")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"url: it holds a user name or password; {instead}")
    if parts.port == 0:
        raise ValueError("url: there is no port 0")
