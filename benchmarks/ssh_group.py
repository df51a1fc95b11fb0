"""The same as baselines/ssh_threads.py, by the target `ssh` of dr: python -m benchmarks.ssh_group GROUP COMMANDS."""

import sys
from pathlib import Path

import msgspec

from dr.core.duration import decode_hook
from dr.targets.protocols import Opening
from dr.targets.ssh import SshGroup, open_target


def main(group: SshGroup, count: int) -> None:
    opening = Opening(name="hosts", label="dr:bench:ssh:1", timeout=600, secret=str, mask=lambda _: None)
    hosts = open_target(group, opening)
    for _ in range(count):
        answers = hosts.run(["true"], hosts.hosts, at_once=len(hosts.hosts), go_on=lambda _: True)
        if [answer for answer in answers if answer.status != 0] or len(answers) < len(hosts.hosts):
            raise SystemExit(1)
    hosts.close()


if __name__ == "__main__":
    main(
        msgspec.convert(msgspec.json.decode(Path(sys.argv[1]).read_bytes()), SshGroup, dec_hook=decode_hook),
        int(sys.argv[2]),
    )
