"""LocalStack, kept to this machine: run by the interpreter of its own environment, `python -I launcher.py SOCKET`.

SOCKET is the number of an inherited listening socket. Upstream would listen on 0.0.0.0 whatever address it is told,
keep large objects in one folder shared by all instances, and look up names and catalogues on the network. Everything
else about it is its environment: instance.py.
"""

import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import Any

RESOLVERS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
ADDRESSED = {"socket.bind", "socket.connect", "socket.sendto", "socket.sendmsg"}


def keep_to_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook that refuses to listen, send or look up beyond loopback. Raises PermissionError.

    An audit hook hears every socket of the process, and nothing can remove it. Addresses of other families than the
    internet's are no tuples that begin with a text.
    """
    if event in RESOLVERS:
        host = arguments[0]
    elif event in ADDRESSED and isinstance(arguments[1], tuple) and isinstance(arguments[1][0], str):
        host = arguments[1][0]
    else:
        return
    if not is_loopback(host.decode() if isinstance(host, bytes) else host):
        raise PermissionError(f"{event} {host!r}: this LocalStack stays on loopback")


def is_loopback(host: str | None) -> bool:
    """Whether a name or address means this machine without asking anybody. The empty name means all interfaces."""
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def main(listening: int) -> None:
    """Correct what no variable of the environment can, and become LocalStack."""
    sys.addaudithook(keep_to_loopback)

    from twisted.internet import endpoints

    def endpoint_of_the_socket(reactor: Any, _port: int) -> Any:
        return endpoints.AdoptedStreamServerEndpoint(reactor, listening, socket.AF_INET)

    endpoints.TCP4ServerEndpoint = endpoint_of_the_socket

    from localstack.services.s3 import provider

    provider.DEFAULT_S3_TMP_DIR = str(Path(os.environ["FILESYSTEM_ROOT"], "s3"))

    from localstack.runtime.main import main as run

    run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
