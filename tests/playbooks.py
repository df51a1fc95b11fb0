"""The hosts of a fleet as Ansible sees them, and playbooks to run on them."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from dr.targets.ansible import AnsibleHosts
from dr.targets.transport.ansible_play import search_path
from tests.sshd import Fleet

HEAD: Final = "- hosts: all\n  gather_facts: false\n  tasks:\n"
MAKE: Final = "  - {name: make it, copy: {content: '{{ word }}', dest: '{{ host_dir }}/made'}}\n"
UNMAKE: Final = "  - {name: unmake it, file: {path: '{{ host_dir }}/made', state: absent}}\n"
SLOWLY: Final = """\
  - name: make it slowly
    ansible.builtin.shell: |
      echo x >> begun; until test -e go; do sleep 0.05; done; echo x >> made
    args: {chdir: '{{ host_dir }}', creates: '{{ host_dir }}/made'}
"""
FILES: Final = ("made", "begun", "go")


def prepared(fleet: Fleet, folder: Path, playbooks: Mapping[str, str], **more: Any) -> AnsibleHosts:
    """The target, with an inventory of the hosts and these playbooks in `folder`."""
    if shutil.which("ansible-playbook", path=search_path()) is None:
        pytest.skip("ansible-playbook is not installed (pip install ansible-core)")
    (folder / "playbooks").mkdir()
    for name, tasks in playbooks.items():
        (folder / "playbooks" / name).write_text(HEAD + tasks)
    (folder / "inventory").write_text("".join(map(_line, fleet.hosts)))
    fields = {
        "inventory": str(folder / "inventory"),
        "playbooks": str(folder / "playbooks"),
        "user": fleet.group().user,
        "key": str(fleet.key),
        "known_hosts": str(fleet.known_hosts),
    }
    return AnsibleHosts(**{**fields, **more})


def _line(host: Any) -> str:
    address, port = host.address.split(":")
    return (
        f"{host.folder.name} ansible_host={address} ansible_port={port} host_dir={host.folder}"
        f" ansible_python_interpreter={sys.executable}\n"
    )


def clean(fleet: Fleet) -> None:
    """Remove what the playbooks here make."""
    for host in fleet.hosts:
        for name in FILES:
            (host.folder / name).unlink(missing_ok=True)


def processes_about(text: str) -> list[str]:
    """The command lines of processes, here and on the hosts, that have this text in them or in their directory."""
    lines = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = " ".join(process.info["cmdline"] or ())
        if text in line or text in (process.info["cwd"] or ""):
            lines.append(line)
    return lines
