"""A key in the operator's SSH agent (draft-ietf-sshm-ssh-agent): found by its fingerprint, never seen.

paramiko has a client too. It waits for the agent without a limit, and an agent can be a person who does not answer the
question on another screen: at the end of a recovery that would hang the run. It also takes 0.2 s and more to import.
"""

import os
import socket
import time
from typing import Final

from dr.audit.keys import unusable
from dr.audit.signature import PublicKey
from dr.audit.wire import Malformed, Reader, string, uint32

PATIENCE: Final = 30.0
"""Seconds for an answer: an agent may ask the person first (`ssh-add -c`)."""
LARGEST: Final = 256 * 1024
"""Bytes of an answer; the limit of OpenSSH's own agent."""
START_ONE: Final = "eval $(ssh-agent) && ssh-add"
"""What an operator without an agent types."""
_LIST, _KEYS, _SIGN, _SIGNED = 11, 12, 13, 14
_RSA_SHA2_512 = 4


class AgentKey:
    """A key that the agent signs with."""

    def __init__(self, public: PublicKey, patience: float) -> None:
        self.public = public
        self._patience = patience

    def sign(self, data: bytes) -> bytes:
        flags = _RSA_SHA2_512 if self.public.kind == "ssh-rsa" else 0
        kind, answer = _ask(bytes([_SIGN]) + string(self.public.blob) + string(data) + uint32(flags), self._patience)
        if kind != _SIGNED:
            raise unusable(f"the SSH agent refuses to sign with {self.public.fingerprint}")
        try:
            return answer.string()
        except Malformed as error:
            raise _nonsense(error) from None


def find_key(fingerprint: str, patience: float = PATIENCE) -> AgentKey:
    """The agent's key of that fingerprint (`SHA256:...`).

    Args:
        fingerprint: as `ssh-add -l` prints it.
        patience: seconds to wait for each of its answers.

    Raises:
        SigningFailed: there is no agent, or it does not hold the key.
    """
    kind, answer = _ask(bytes([_LIST]), patience)
    try:
        keys = [_listed(answer) for _ in range(answer.uint32())] if kind == _KEYS else []
    except Malformed as error:
        raise _nonsense(error) from None
    for key in keys:
        if key.fingerprint == fingerprint:
            return AgentKey(key, patience)
    held = ", ".join(key.fingerprint for key in keys) or "none"
    raise unusable(f"the SSH agent does not hold the signing key {fingerprint} (it holds: {held})", hint="ssh-add")


def _listed(answer: Reader) -> PublicKey:
    key = PublicKey(answer.string())
    answer.string()  # a comment
    return key


def _ask(request: bytes, patience: float) -> tuple[int, Reader]:
    """The kind of the agent's answer, and the rest of it."""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        raise unusable("there is no SSH agent here: SSH_AUTH_SOCK is not set", hint=START_ONE)
    end = time.monotonic() + patience
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(patience)
            agent.connect(path)
            agent.sendall(string(request))
            size = int.from_bytes(_receive(agent, 4, end), "big")
            if not 0 < size <= LARGEST:
                raise _nonsense(Malformed(f"an answer of {size:,} bytes"))
            answer = _receive(agent, size, end)
    except TimeoutError:
        raise unusable(f"the SSH agent has not answered for {patience:g} s") from None
    except OSError as error:
        raise unusable(f"the SSH agent cannot be reached: {error.strerror or error}", hint=START_ONE) from None
    return answer[0], Reader(answer[1:])


def _receive(agent: socket.socket, count: int, end: float) -> bytes:
    received = b""
    while len(received) < count:
        agent.settimeout(max(0.001, end - time.monotonic()))
        some = agent.recv(count - len(received))
        if not some:
            raise ConnectionResetError("it closed the connection")
        received += some
    return received


def _nonsense(error: Malformed) -> Exception:
    return unusable(f"what answers at SSH_AUTH_SOCK is no SSH agent: {error}")
