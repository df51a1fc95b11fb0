"""What a command on many hosts costs: 1,000 commands over 50 real sshd on this machine, as whole processes.

Contestants: the target `ssh` of dr (rounds of one command on each host); bare paramiko, one thread for each host; and
Ansible's `raw`, as many tasks as commands on each host, all hosts at once. The processors that run the sshd are the
limit for all three.
"""

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.goals import Row, at_least, at_most
from benchmarks.measure import Cost, Place, interleave, run
from dr.targets.transport.ansible_play import search_path
from tests.sshd import Fleet, fleet

ROOT = Path(__file__).parent.parent
HOSTS = 50
EACH = 20
ROUNDS = 5


def measure(place: Place) -> Iterator[Row]:
    with fleet(HOSTS) as hosts:
        group = place.work / "group.json"
        group.write_bytes(msgspec.json.encode(hosts.group(), enc_hook=str))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}

        def dr() -> Cost:
            arguments: list[str | Path] = [place.python, "-m", "benchmarks.ssh_group", group, str(EACH)]
            return run(arguments, cwd=place.work, environment=environment)

        def bare() -> Cost:
            arguments: list[str | Path] = [
                place.python,
                ROOT / "benchmarks" / "baselines" / "ssh_threads.py",
                group,
                str(EACH),
            ]
            return run(arguments, cwd=place.work)

        times = {name: cost.seconds for name, cost in interleave(ROUNDS, {"dr": dr, "bare": bare}).items()}
        yield Row("1,000 commands on 50 sshd / bare paramiko", times["dr"] / times["bare"], "x", at_most(1.1), times)
        ansible = _ansible(place, hosts)
        yield Row("Ansible raw / the same by dr", ansible / times["dr"], "x", at_least(5), {"ansible": ansible})


def _ansible(place: Place, hosts: Fleet) -> float:
    """Seconds that Ansible takes; once, for it is far behind."""
    program = shutil.which("ansible-playbook", path=search_path())
    if program is None:
        message = "ansible-playbook is not installed"
        raise FileNotFoundError(message)
    lines = [f"{h.folder.name} ansible_host={{}} ansible_port={{}}".format(*h.address.split(":")) for h in hosts.hosts]
    (place.work / "inventory").write_text("\n".join(lines) + "\n")
    tasks = [{"raw": "true"} for _ in range(EACH)]
    playbook = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
    (place.work / "raw.yml").write_text(json.dumps(playbook))
    known = f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={shlex.quote(str(hosts.known_hosts))}"
    environment = {
        "PATH": search_path(), "LC_ALL": "C.UTF-8", "HOME": str(place.work), "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(hosts.known_hosts.parent / "cp"),
    }  # fmt: skip
    arguments: list[str | Path] = [
        program, f"--inventory={place.work / 'inventory'}", f"--forks={HOSTS}", f"--user={hosts.group().user}",
        f"--private-key={hosts.key}", f"--ssh-common-args={known} -o ControlMaster=auto -o ControlPersist=5s",
        place.work / "raw.yml",
    ]  # fmt: skip
    return run(arguments, cwd=place.work, environment=environment).seconds
