"""A TCP connection to an address as `dr.toml` has it."""

import socket
from typing import Final

LAST_PORT: Final = 65_535


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """As `socket.create_connection`; but where no such address can be, that is an OSError, too.

    Python takes port 99999 for 34463, and a name with an empty part (`db1..example`) for a mistake of the programmer.
    """
    if port > LAST_PORT:
        raise OSError(f"there is no port {port}")
    try:
        return socket.create_connection((host, port), timeout)
    except UnicodeError:
        raise OSError(f"{host} is not the name of a host") from None
