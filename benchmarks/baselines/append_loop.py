"""Append the bytes of a journal to a new file, group by group, each group made durable before the next.

usage: append_loop.py JOURNAL SIZES COPY

SIZES holds one number per line: the bytes that `dr` wrote between two syncs. Nothing else is done: no hash, no
encoding, no decision. This is the floor under any journal that is durable at the same points.
"""

import os
import sys

journal, sizes, copy = sys.argv[1:]
with open(journal, "rb") as file:  # noqa: PTH123 - pathlib's import would be most of this program's start
    data = file.read()
with open(sizes) as file:  # noqa: PTH123
    groups = [int(line) for line in file]
descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
start = 0
for size in groups:
    os.write(descriptor, data[start : start + size])
    os.fdatasync(descriptor)
    start += size
os.close(descriptor)
if start != len(data):
    sys.exit(f"the groups hold {start} bytes, the journal {len(data)}")
