"""The evidence pack: everything that proves a run, in one archive, with the means to verify it without `dr`. Pure."""

import gzip
import io
import tarfile
from collections.abc import Iterator, Mapping
from importlib.resources import files

from dr.audit.verdict import Verdict

README, VERIFY = "README.txt", "verify.py"


def archive(folder: str, members: Mapping[str, bytes]) -> bytes:
    """A tar.gz of these files in one folder. It holds no times and no owners: the same input gives the same bytes."""
    packed = io.BytesIO()
    # Not `tarfile.open(mode="w:gz")`: that writes the time of day into the gzip header.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0, compresslevel=9) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in sorted(members):
            item = tarfile.TarInfo(f"{folder}/{name}")
            item.size = len(members[name])
            item.mode = 0o644
            tar.addfile(item, io.BytesIO(members[name]))
    return packed.getvalue()


def verifier() -> bytes:
    """The program that verifies a pack with Python's standard library alone."""
    return (files("dr.audit") / "verify_pack.py").read_bytes()


def readme(run: str, plan: str, verdict: Verdict, *, ended: bool) -> str:
    """What the pack is, what it proves, and what it cannot prove.

    Args:
        run: the name of the run.
        plan: SHA-256 of its plan, in hex.
        verdict: what was found when the pack was made.
        ended: whether the run had ended then.
    """
    return _README.format(run=run, proven="\n".join(f"- {line}" for line in _proven(plan, verdict, ended=ended)))


def _proven(plan: str, verdict: Verdict, *, ended: bool) -> Iterator[str]:
    yield f"The journal holds {verdict.head.size} entries, and each names the SHA-256 of the one before it."
    yield f"The end of that chain is {verdict.head.hash}."
    yield f"The plan is the one the run was started with: {plan}."
    if not ended:
        yield "INCOMPLETE: the run had not ended; export it again when it has."
    if not verdict.expected:
        yield "UNSIGNED: who did it is not proven; whoever could write these files could have written all of them anew."
        return
    yield from verdict.behind()
    yield from (f"INCOMPLETE: {line}" for line in verdict.incomplete)
    yield from verdict.notes


_README = """\
Evidence of the recovery run {run}

    plan.json          what was to be done; its SHA-256 stands in the first entry
    journal.jsonl      what happened: one entry a line, in the order it was written
    checkpoints.jsonl  size and end of the chain as they were at certain times, signed where the run is signed
    allowed_signers    whose signatures were accepted, in OpenSSH's format (absent: nobody had said)
    timeline.txt       the entries in words
    verify.py          verifies all of it but the words

TO VERIFY IT, with nothing but Python 3.8 or newer and OpenSSH's ssh-keygen, in this folder:

    python3 -I verify.py --allowed-signers THE-FILE-YOU-TRUST     (--entries: also says what was done)

It ends with 0 if all is well, and never without that file: the list in this pack is the word of whoever made it.
Whoever made this pack could have put any verify.py and any allowed_signers into it. Take verify.py from a copy of dr
that you trust (there it is dr/audit/verify_pack.py), and allowed_signers from whoever keeps the list of your
operators' keys.

WHAT WAS PROVEN when this pack was made

{proven}

WHAT THIS CANNOT PROVE

- When it was. Times are those of the machines that dr ran on. A key's validity is judged by the time in the signed
  checkpoint, which its holder wrote: whoever has an expired key can sign with an old date.
- That nothing is missing after the last signature. Who can write the files can cut what is behind the chain alone; and
  with it the signed checkpoints at the end, and what they cover. The run then looks as if it had been killed there, so
  one that has not ended is called incomplete.
- That there was no other run. The removal of a whole run leaves no trace in another one.
- That what the entries say is true. A signature says who vouches for them; whoever goes on with a run vouches for what
  was found of it.
"""
