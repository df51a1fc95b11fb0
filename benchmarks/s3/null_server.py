"""The least that S3 can be: every PUT is stored (nowhere), every GET finds one entry, after a given time.

usage: python -m benchmarks.s3.null_server SECONDS

Prints its address. What a client takes against this is the client's own doing: LocalStack, one Python process, answers
some 250 requests a second and hides it.
"""

import asyncio
import sys
from base64 import b64encode
from hashlib import sha256

from benchmarks.s3 import ENTRY

ANSWERS = {
    b"PUT": b'HTTP/1.1 200 OK\r\nETag: "0"\r\nx-amz-version-id: 1\r\nContent-Length: 0\r\n\r\n',
    b"GET": (
        b"HTTP/1.1 200 OK\r\nx-amz-version-id: 1\r\nx-amz-checksum-sha256: %s\r\nContent-Length: %d\r\n\r\n%s"
        % (b64encode(sha256(ENTRY).digest()), len(ENTRY), ENTRY)
    ),
}  # fmt: skip


class Connection(asyncio.Protocol):
    """Requests one after the other; a body has its length in the header."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.received = b""
        self.asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if b"expect" in fields and not self.asked:
            self.asked = True
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(body) >= int(fields.get(b"content-length", 0)):
            self.received, self.asked = b"", False
            self.later(ANSWERS[head[:3]])

    def later(self, answer: bytes) -> None:
        asyncio.get_running_loop().call_later(self.seconds, self.transport.write, answer)


async def serve(seconds: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(seconds), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
