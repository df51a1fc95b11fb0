"""AWS on this machine, for a person: `python -m localstack PORT`. It runs until Ctrl-C."""

import contextlib
import os
import runpy
import sys
from pathlib import Path

from dr.demo.workspace import CommandFailed
from localstack.instance import LOG, LocalStack, running

INIT = Path(__file__).with_name("init")


def fill(localstack: LocalStack) -> None:
    """Create what `init/` describes, as LocalStack itself does in Docker, and say what that is."""
    os.environ.update(localstack.environment)
    for script in sorted(INIT.glob("*.py")):
        runpy.run_path(str(script))


def serve(port: int) -> None:
    """Run until LocalStack ends, which it does by itself only when it breaks. Raises CommandFailed, OSError."""
    with running(port) as localstack:
        fill(localstack)
        print(f"\nAWS is at {localstack.endpoint} until Ctrl-C; what it holds is gone then. For another terminal:\n")
        for name, value in localstack.environment.items():
            print(f"export {name}={value}")
        print(f"\nIts log: {localstack.directory / LOG}", flush=True)
        localstack.process.wait()
        raise CommandFailed((localstack.directory / LOG).read_text(errors="replace")[-2000:])


if __name__ == "__main__":
    port = int(sys.argv[1])
    with contextlib.suppress(KeyboardInterrupt):
        try:
            serve(port)
        except OSError as error:
            sys.exit(f"cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another: make localstack PORT=4567")
        except CommandFailed as error:
            sys.exit(f"LocalStack ended by itself\n{error}")
