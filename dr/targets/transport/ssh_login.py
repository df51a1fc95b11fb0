"""One connection to one host over SSH, whose key is known."""

import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import paramiko
from paramiko.hostkeys import HostKeyEntry
from paramiko.pkey import UnknownKeyType

from dr.targets.protocols import TargetUnreachable
from dr.targets.transport import tcp

SSH_PORT: Final = 22
MARKED: Final = 3
"""Words before the key on a marked line."""
LARGEST_FILE: Final = 16 * 1024 * 1024
"""Bytes of a file of known hosts (safety rule 15)."""

# What goes wrong is told by exceptions; without a handler Python would print it with a traceback, too.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Known:
    """A file of known hosts. Its patterns (`*.example`) match nothing: a host is known by its name."""

    path: str
    lines: tuple[tuple[tuple[str, ...], str], ...]
    """Names, plain or hashed, and the line with the key."""
    revoked: frozenset[str]
    """Base64 of the keys on `@revoked` lines."""

    def keys_of(self, host: str) -> Iterator[paramiko.PKey]:
        """The keys that the host, as the file calls it, may have."""
        for names, line in self.lines:
            if any(name == host or _is_hash_of(name, host) for name in names):
                key = _key_on(line)
                if key is not None and key.get_base64() not in self.revoked:
                    yield key


@dataclass(frozen=True)
class Login:
    """Who logs in, with what, and which hosts are known."""

    name: str
    """The target's; errors begin with it."""
    user: str
    known: Known
    key: paramiko.PKey | None
    """None: the keys of the agent are tried."""
    keepalive: int

    def as_user(self, user: str) -> "Login":
        return replace(self, user=user)

    def connect(self, address: str, sock: "socket.socket | paramiko.Channel", timeout: float) -> paramiko.SSHClient:
        """Log in over a connected socket.

        Raises:
            paramiko.SSHException, OSError, EOFError: the host's key is not known or wrong, or it refuses.
        """
        host, port = split(address)
        entry = host if port == SSH_PORT else f"[{host}]:{port}"
        client = paramiko.SSHClient()
        for key in self.known.keys_of(entry):
            client.get_host_keys().add(entry, key.get_name(), key)
        client.set_missing_host_key_policy(_Refuse(self.known.path))
        try:
            client.connect(
                host, port, self.user, pkey=self.key, sock=sock, allow_agent=self.key is None, look_for_keys=False,
                timeout=timeout, banner_timeout=timeout, auth_timeout=timeout, channel_timeout=timeout,
            )  # fmt: skip
        except BaseException:
            client.close()
            raise
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(self.keepalive)
        return client


class _Refuse(paramiko.MissingHostKeyPolicy):
    def __init__(self, path: str) -> None:
        self._path = path

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise paramiko.SSHException(
            f"its host key ({key.get_name()} {key.fingerprint}) is not in {self._path}; verify it and add it there"
        )


def split(address: str) -> tuple[str, int]:
    """Host and port of HOST, HOST:PORT or [IPV6]:PORT."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, str(SSH_PORT)
    return host.strip("[]"), int(port)


def dial(address: str, timeout: float) -> socket.socket:
    """A TCP connection. Without Nagle's algorithm: with it a command takes eight times as long."""
    sock = tcp.connect(*split(address), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def private_key(name: str, path: str, passphrase: str | None) -> paramiko.PKey:
    """The key in that file, with its certificate if one lies beside it. Raises TargetUnreachable."""
    secret = passphrase.encode() if passphrase is not None else None
    try:
        return paramiko.PKey.from_path(path, secret)  # type: ignore[arg-type]  # its stub says str, and it takes bytes
    except (paramiko.SSHException, UnknownKeyType, OSError, ValueError, TypeError) as error:
        why = getattr(error, "strerror", None) or "it is no private key, or the passphrase is missing or wrong"
        raise TargetUnreachable(f"{name}: the key {path} cannot be used: {why}") from None


def known_hosts(name: str, path: str) -> Known:
    """The keys in a file of known hosts. Raises TargetUnreachable."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            text = file.read(LARGEST_FILE)
    except OSError as error:
        raise TargetUnreachable(f"{name}: {path} cannot be read: {error.strerror}") from None
    fields = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return Known(
        path,
        tuple((tuple(line[0].split(",")), " ".join(line)) for line in fields if not line[0].startswith("@")),
        # paramiko's own reader passes over marked lines; to pass over a revocation would be to trust.
        frozenset(line[3] for line in fields if line[0] == "@revoked" and len(line) > MARKED),
    )


def _is_hash_of(name: str, host: str) -> bool:
    return name.startswith("|1|") and paramiko.HostKeys.hash_host(host, name) == name


def _key_on(line: str) -> paramiko.PKey | None:
    """The key on a line; None when it is malformed or of an unknown kind, which then makes no host known."""
    try:
        entry = HostKeyEntry.from_line(line)
    except (paramiko.SSHException, ValueError):
        return None
    return entry.key if entry is not None else None
