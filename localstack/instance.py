"""One running LocalStack: start it, freeze and thaw it, end it.

    with running() as localstack:
        localstack.client("s3").list_buckets()

It listens on 127.0.0.1 alone, keeps its files in a directory of its own, and is gone with all of them when the block is
left or this process dies, whatever it dies of. What it held is gone then too: it cannot persist, but it can be frozen.
"""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from dr.demo import process_tree
from dr.demo.workspace import CommandFailed, Workspace
from localstack.install import catalog_directory

ROOT = Path(__file__).parent.parent
VENV = ROOT / "build" / "localstack-venv"
READY = VENV / ".ready"
LAUNCHER = Path(__file__).with_name("launcher.py")
LOG = "localstack.log"

LIMIT = 120  # seconds for the first answer; it takes about 3, on a machine under load far longer
BACKLOG = 128
REGION = "eu-central-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}  # any: it checks signatures, not rights

SETTINGS = {
    **CREDENTIALS,
    "AWS_EC2_METADATA_DISABLED": "true",
    "DISABLE_EVENTS": "1",  # no usage statistics
    "DNS_ADDRESS": "0",  # no name server
    "GATEWAY_SERVER": "twisted",
    "OVERRIDE_IN_DOCKER": "0",
    "S3_SKIP_SIGNATURE_VALIDATION": "0",
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "SQS_ENDPOINT_STRATEGY": "path",  # else a queue's address is a name that needs a name server
}


class LocalStack:
    """A running LocalStack, ready for S3 calls. Its end is that of the workspace it was started in."""

    def __init__(self, port: int, process: psutil.Process, directory: Path) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.process = process
        self.directory = directory
        self._session = boto3.Session()

    @property
    def environment(self) -> dict[str, str]:
        """What boto3, the AWS command line and `dr` need in their environment to use this instead of AWS."""
        return {"AWS_ENDPOINT_URL": self.endpoint, **CREDENTIALS, "AWS_DEFAULT_REGION": REGION}

    def client(self, service: str, region: str = REGION, *, endpoint: str | None = None, **config: Any) -> Any:
        """A boto3 client of this LocalStack, or of a proxy before it: `endpoint`. It does not repeat a failed call.

        `config` goes into botocore's Config, such as `read_timeout=1`.
        """
        return self._session.client(
            service,
            region_name=region,
            endpoint_url=endpoint or self.endpoint,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
        )

    def freeze(self) -> None:
        """Stop it where it is (SIGSTOP): connections are still accepted, by the kernel, and nothing answers."""
        process_tree.freeze(self.process)

    def thaw(self) -> None:
        """Let it go on with all it held. Calls that waited are answered."""
        process_tree.thaw(self.process)


@contextmanager
def running(port: int = 0) -> Iterator[LocalStack]:
    """A LocalStack on this port of 127.0.0.1, or on a free one; it ends with the block. Raises as `start` does."""
    with Workspace() as workspace:
        yield start(workspace, port)


def start(workspace: Workspace, port: int = 0) -> LocalStack:
    """Start LocalStack in a workspace and wait until it has answered an S3 call.

    Raises:
        OSError: the port is taken.
        CommandFailed: it did not start; the message ends with the last lines of its log.
    """
    with closing(listen(port)) as listening:
        port = listening.getsockname()[1]
        variables = [f"{name}={value}" for name, value in environment(workspace.directory, port).items()]
        launch: list[str | Path] = [VENV / "bin" / "python", "-I", LAUNCHER, str(listening.fileno())]
        child = workspace.spawn(["env", "-i", *variables, *launch], LOG, pass_fds=[listening.fileno()])
    localstack = LocalStack(port, psutil.Process(child.pid), workspace.directory)
    # The health page answers before any service can. This call waits in the socket's backlog until one does; if the
    # process ends first, the kernel closes the socket that only it holds by now, and the call fails at once.
    try:
        localstack.client("s3", read_timeout=LIMIT).list_buckets()
    except BotoCoreError as error:
        raise CommandFailed(f"LocalStack did not start: {error}\n{workspace.tail(LOG, 30)}") from error
    return localstack


def listen(port: int) -> socket.socket:
    """A listening socket of 127.0.0.1. Made here and inherited, so that no one can take the port in between."""
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(BACKLOG)
        listening.settimeout(0)  # does not block: its heir waits for events
    except OSError:
        listening.close()
        raise
    return listening


def environment(directory: Path, port: int) -> dict[str, str]:
    """All of LocalStack's environment: nothing of the caller's reaches it. Makes its directories."""
    filesystem, temporary, catalog = directory / "filesystem", directory / "tmp", directory / "filesystem/usr/lib"
    temporary.mkdir()
    catalog.mkdir(parents=True)
    (catalog / "localstack").symlink_to(catalog_directory(VENV))
    return {
        **SETTINGS,
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "FILESYSTEM_ROOT": str(filesystem),
        "CONFIG_DIR": str(filesystem),
        "HOME": str(directory),
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(temporary),
    }
