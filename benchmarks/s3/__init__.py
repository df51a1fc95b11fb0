"""The programs that the benchmark of the journal on S3 times; each prints its figures."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

ROOT = Path(__file__).parent.parent.parent
ENTRY = b"{" + b"x" * 268 + b"}\n"
"""As long as an entry is."""


@contextmanager
def null_s3(seconds: float) -> Iterator[str]:
    """A store that does nothing but answer, after that many seconds; its address."""
    command = [sys.executable, "-m", "benchmarks.s3.null_server", str(seconds)]
    with Popen(command, cwd=ROOT, stdout=PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()
