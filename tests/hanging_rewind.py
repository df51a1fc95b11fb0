"""A pg_rewind that comes to a stop (SIGSTOP) when it has removed the fence, and has copied nothing yet."""

from pathlib import Path

import msgspec
import psutil

from dr.targets.postgresql_server import PostgresqlServer
from dr.targets.transport.data_directory import FENCE

SCRIPT = """\
#!/bin/sh
"{real}" "$@" &
while [ -e "{fence}" ] && read -r _ _ state _ <"/proc/$!/stat" && [ "$state" != Z ]; do :; done
kill -STOP $!
wait $!
"""
"""One that has nothing to do goes on to its end."""


def hanging_rewind(config: PostgresqlServer, folder: Path) -> PostgresqlServer:
    """The same server with such a one; its programs are put into the folder."""
    folder.mkdir()
    for tool in Path(config.programs).iterdir():
        (folder / tool.name).symlink_to(tool)
    script = folder / "pg_rewind"
    script.unlink()
    script.write_text(SCRIPT.format(real=f"{config.programs}/pg_rewind", fence=f"{config.data}/{FENCE}"))
    script.chmod(0o755)
    return msgspec.structs.replace(config, programs=str(folder))


def hangs(process: psutil.Process) -> bool:
    """Whether there is one below that process, and it has come to its stop."""
    return any(one.status() == psutil.STATUS_STOPPED for one in process.children(recursive=True))
