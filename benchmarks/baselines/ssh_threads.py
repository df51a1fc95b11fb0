"""Bare paramiko: a thread and a connection for each host, the same command on it again and again.

python ssh_threads.py GROUP COMMANDS    GROUP is a file of JSON: hosts, user, key, known_hosts
"""

import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import paramiko


def work(group: dict[str, Any], key: paramiko.PKey, address: str, count: int) -> None:
    host, port = address.split(":")
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client = paramiko.SSHClient()
    client.load_host_keys(group["known_hosts"])
    client.connect(host, int(port), group["user"], pkey=key, sock=sock, allow_agent=False, look_for_keys=False)
    for _ in range(count):
        _, output, _ = client.exec_command("true")
        output.read()
        if output.channel.recv_exit_status() != 0:
            raise SystemExit(1)
    client.close()


def main(group: dict[str, Any], count: int) -> None:
    key = paramiko.Ed25519Key.from_private_key_file(group["key"])
    threads = [threading.Thread(target=work, args=(group, key, address, count)) for address in group["hosts"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]))
