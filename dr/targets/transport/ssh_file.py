"""A small text file on another host, as `textfile.py` has those of this machine: read whole, replaced atomically."""

import base64
import hashlib
from collections.abc import Callable
from typing import Final

from dr.targets.protocols import Conflict, TargetUnreachable
from dr.targets.transport.ssh_program import SshPrograms
from dr.targets.transport.textfile import MAX_BYTES, TRIES, decoded

CHANGED: Final = 3
LENGTH: Final = MAX_BYTES * 3 // 2
"""Characters of a file of the largest size, in base64 with its line ends."""
READ: Final = """
[ -e "$1" ] || exec cat -- "$1"
[ -f "$1" ] || { echo "it is not a regular file" >&2; exit 1; }
[ -r "$1" ] || exec cat -- "$1"
head -c "$2" <"$1" | base64
"""
# What arrives on standard input may be cut short with the connection, so it is looked at before it is put in place.
# Pollers look for a later time of modification, as in `textfile.py`.
REPLACE: Final = f"""
set -e
sum() {{ sha256sum <"$1" | cut -c 1-64; }}
real=$(readlink -e -- "$1")
new=$(mktemp "$real.dr-new-XXXXXX")
trap 'rm -f -- "$new"' EXIT
cat >"$new"
test "$(sum "$new")" = "$3"
chown --reference="$real" "$new"
chmod --reference="$real" "$new"
test "$new" -nt "$real" || touch -d "@$(($(stat -c %Y "$real") + 1))" "$new"
sync "$new"
test "$(sum "$real")" = "$2" || exit {CHANGED}
mv -f -- "$new" "$real"
sync "$(dirname "$real")"
"""


class SshFile:
    """The file at `path` on the one host of `programs`; `deadline` is a time of `time.monotonic`, and may be moved."""

    def __init__(self, name: str, path: str, programs: SshPrograms, deadline: float) -> None:
        self.path = path
        self._name = name
        self._programs = programs
        self.deadline = deadline

    def read(self) -> str:
        """The whole text, as `TextFile.read`."""
        argv = ("sh", "-c", READ, "sh", self.path, str(MAX_BYTES + 1))
        said = self._programs.look(argv, self.deadline, most=LENGTH)
        if said.status:
            raise TargetUnreachable(f"{self._name}: {self.path}: {said.words()}")
        return decoded(self.path, base64.b64decode(said.out))

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Replace the text by `change(text)`, as `TextFile.rewrite`."""
        for _ in range(TRIES):
            old = self.read()
            new = change(old)
            if new == old:
                return
            sums = [hashlib.sha256(text.encode()).hexdigest() for text in (old, new)]
            said = self._programs.change(("sh", "-c", REPLACE, "sh", self.path, *sums), self.deadline, text=new)
            if said.status == 0:
                return
            if said.status != CHANGED:
                raise TargetUnreachable(f"{self._name}: {self.path}: {said.words()}")
        raise Conflict(f"{self.path} was changed by somebody else at each of {TRIES} tries to change it")

    def close(self) -> None:
        self._programs.close()
