"""What a LocalStack of ours does to the machine it runs on, and what is left of it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ReadTimeoutError

from dr.demo import process_tree, wait
from dr.demo.workspace import CommandFailed
from localstack import instance
from localstack.instance import LocalStack, running
from tests.localstack_fixture import Buckets

ROOT = Path(__file__).parents[2]
LIMIT = 60

# Says where its LocalStack is and waits for its own end.
OWNER = (
    "import sys; from localstack.instance import running\n"
    "with running() as localstack: print(localstack.process.pid, localstack.directory, flush=True); sys.stdin.read()"
)
# Each is refused before a packet could leave: connecting a datagram socket sends none.
BEYOND = {
    "listening on all interfaces": "socket.socket().bind(('0.0.0.0', 0))",
    "listening on all interfaces by the empty name": "socket.socket().bind(('', 0))",
    "sending to another machine": "socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 9))",
    "asking for the address of a name": "socket.gethostbyname('name.invalid')",
    "asking for the addresses of a name": "socket.getaddrinfo('name.invalid', 80)",
}
WITHIN = "socket.create_server(('127.0.0.1', 0)); socket.getaddrinfo('localhost', 80); socket.socketpair()"
GUARDED = "import socket, sys\nfrom localstack.launcher import keep_to_loopback\nsys.addaudithook(keep_to_loopback)\n"


def run(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False)


def test_it_listens_on_loopback_alone(localstack: LocalStack) -> None:
    port = int(localstack.endpoint.rpartition(":")[2])
    sockets = [each for process in tree(localstack) for each in process.net_connections("inet")]
    assert {tuple(each.laddr) for each in sockets if each.status == psutil.CONN_LISTEN} == {("127.0.0.1", port)}
    assert {each.laddr.ip for each in sockets} == {"127.0.0.1"}


@pytest.mark.parametrize("attempt", BEYOND.values(), ids=BEYOND)
def test_it_is_refused_the_network(attempt: str) -> None:
    assert "stays on loopback" in run(GUARDED + attempt).stderr


def test_loopback_is_not_refused() -> None:
    assert run(GUARDED + WITHIN).returncode == 0


def test_nothing_of_the_callers_environment_reaches_it(localstack: LocalStack) -> None:
    assert "PATH" in os.environ
    allowed = {*instance.SETTINGS, "CONFIG_DIR", "FILESYSTEM_ROOT", "GATEWAY_LISTEN", "HOME", "LOCALSTACK_HOST"}
    given = set(localstack.process.environ())
    assert given == {*allowed, "TMPDIR", "XDG_CACHE_HOME"}


def test_a_large_object_stays_in_its_directory(localstack: LocalStack, buckets: Buckets) -> None:
    body = bytes(2 << 20)
    s3 = localstack.client("s3", buckets.home.region)
    s3.put_object(Bucket=buckets.home.name, Key="large", Body=body)
    files = [link for link in open_files(localstack.process.pid) if link.endswith(" (deleted)")]
    assert any(buckets.home.name in link for link in files)
    assert [link for link in files if not link.startswith(f"{localstack.directory}/")] == []
    assert s3.get_object(Bucket=buckets.home.name, Key="large")["Body"].read() == body


def test_frozen_it_answers_nothing_and_thawed_it_has_kept_everything(localstack: LocalStack, buckets: Buckets) -> None:
    where = {"Bucket": buckets.home.name, "Key": "kept"}
    localstack.client("s3", buckets.home.region).put_object(**where, Body=b"kept")
    localstack.freeze()
    try:
        with pytest.raises(ReadTimeoutError):
            localstack.client("s3", buckets.home.region, read_timeout=0.2).get_object(**where)
    finally:
        localstack.thaw()
    assert localstack.client("s3", buckets.home.region).get_object(**where)["Body"].read() == b"kept"


@pytest.mark.usefixtures("localstack")
def test_killed_with_its_owner_it_leaves_nothing() -> None:
    with program("-c", OWNER) as owner:
        pid, directory = line(owner).split()
        process = psutil.Process(int(pid))
        process_tree.freeze(process)  # even stopped it must go
    wait.until(lambda: process_tree.ended(process), LIMIT, "LocalStack ends")
    wait.until(lambda: not Path(directory).exists(), LIMIT, "its files are gone")


@pytest.mark.usefixtures("localstack")
def test_a_person_gets_it_filled_and_ends_it_with_ctrl_c() -> None:
    with program("-m", "localstack", "0") as person:
        told = ""
        while "Its log:" not in told:
            told += line(person)
        log = Path(told.rpartition("Its log: ")[2].strip())
        assert log.exists()
        assert_filled(dict(re.findall(r"^export (\w+)=(\S+)$", told, re.MULTILINE)))
        person.send_signal(signal.SIGINT)
        assert person.communicate(timeout=LIMIT) == ("", "")
    assert person.returncode == 0
    assert not log.parent.exists()


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that is killed when the block is left, however it is left."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """The next line a program prints; it is a failure if it ends instead."""
    assert process.stdout is not None
    text = process.stdout.readline()
    assert text, process.communicate()[1]
    return text


def assert_filled(environment: dict[str, str]) -> None:
    """What the init scripts promise is there, and a notice that is sent can be read from the queue."""
    check = (
        "import boto3\n"
        "s3, kms, sns, sqs, ssm = (boto3.client(name) for name in ('s3', 'kms', 'sns', 'sqs', 'ssm'))\n"
        "for bucket in ssm.get_parameter(Name='/dr/journal/home'), ssm.get_parameter(Name='/dr/journal/mirrors'):\n"
        "    name = bucket['Parameter']['Value'].removeprefix('s3://')\n"
        "    rule = s3.get_object_lock_configuration(Bucket=name)['ObjectLockConfiguration']['Rule']\n"
        "    print(s3.get_bucket_location(Bucket=name)['LocationConstraint'], rule['DefaultRetention'])\n"
        "print(kms.describe_key(KeyId='alias/dr-checkpoints')['KeyMetadata']['KeySpec'])\n"
        "sns.publish(TopicArn=sns.list_topics()['Topics'][0]['TopicArn'], Message='recovered')\n"
        "print(sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName='dr-notices')['QueueUrl'], WaitTimeSeconds=20)"
        "['Messages'][0]['Body'])\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", check], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert told.stdout.splitlines() == [
        "eu-central-1 {'Mode': 'COMPLIANCE', 'Days': 1}",
        "eu-west-1 {'Mode': 'COMPLIANCE', 'Days': 1}",
        "ECC_NIST_P256",
        "recovered",
    ], told.stderr


@pytest.mark.usefixtures("localstack")
def test_a_port_that_is_taken_is_said_to_be() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        told = subprocess.run(
            [sys.executable, "-m", "localstack", port], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert told.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in told.stderr


@pytest.mark.usefixtures("localstack")
def test_one_that_cannot_start_is_reported_with_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "launcher.py"
    broken.write_text("raise SystemExit('no such service')")
    monkeypatch.setattr(instance, "LAUNCHER", broken)
    with pytest.raises(CommandFailed, match="no such service"), running():
        pass


def tree(localstack: LocalStack) -> list[psutil.Process]:
    return [localstack.process, *localstack.process.children(recursive=True)]


def open_files(pid: int) -> list[str]:
    """What the file descriptors of a process stand for, also files that have no name any more."""
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return links
