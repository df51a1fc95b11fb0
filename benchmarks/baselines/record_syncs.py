"""Run a `dr` command in this process and write down how many bytes it appended before each fdatasync of its journal.

usage: record_syncs.py SIZES ARGUMENT...

The journal is the only file that `dr` syncs with fdatasync (what it creates once, it syncs with fsync), and it only
grows: what a sync made durable is the difference of the file's sizes. Never timed.
"""

import os
import sys
from pathlib import Path

from dr.cli.main import main

sizes: list[int] = []
fdatasync = os.fdatasync


def recorded(descriptor: int) -> None:
    fdatasync(descriptor)
    sizes.append(os.fstat(descriptor).st_size - sum(sizes))


os.fdatasync = recorded  # type: ignore[assignment]
file, sys.argv[1:] = sys.argv[1], sys.argv[2:]
try:
    main()
finally:
    Path(file).write_text("".join(f"{size}\n" for size in sizes))
