"""Make the journal of a run COUNT entries long, for `dr audit verify` to read.

usage: long_journal.py JOURNAL COUNT

JOURNAL is that of a finished run. Its first entry is kept, the others and the checkpoints make room for as many
resumptions as it takes: the one event that a run may have without limit, so that the history is a legal one. An entry
has the size that it has in a real run (about 270 bytes).
"""

import sys
from pathlib import Path

from msgspec.structs import replace

from dr.audit import chain
from dr.core.events import RunResumed, decode_entry, encode_entry

journal, count = Path(sys.argv[1]), int(sys.argv[2])
first = journal.read_bytes().split(b"\n", 1)[0]
head = chain.link(chain.EMPTY, first)
template = replace(decode_entry(first), event=RunResumed(host="recovery-host.example", version="1.0.0"))
with journal.open("wb") as file:
    file.write(first + b"\n")
    while head.size < count:
        line = encode_entry(replace(template, prev=head.hash, seq=head.size))
        file.write(line + b"\n")
        head = chain.link(head, line)
(journal.parent / "checkpoints.jsonl").unlink(missing_ok=True)
