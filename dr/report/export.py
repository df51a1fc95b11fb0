"""The evidence pack of a run, made from its journal."""

import tempfile
from pathlib import Path

from dr.audit.allowed_signers import AllowedSigners
from dr.audit.pack import README, VERIFY, archive, readme, verifier
from dr.audit.replay import begun
from dr.audit.stored import StoredRun
from dr.audit.verdict import Verdict
from dr.core import events as e
from dr.core import state as s
from dr.report.folder import copy, lines
from dr.report.timeline import timeline
from dr.report.words import printable


def export(stored: StoredRun, signers: AllowedSigners | None) -> tuple[bytes, Verdict]:
    """The pack as a tar.gz, and what is proven by it. The same run and signers give the same bytes.

    Raises:
        JournalBroken, PlanChanged: the run does not verify; of what was tampered with there is no evidence.
        NoSuchRun: the run was never started.
    """
    with tempfile.TemporaryDirectory() as work:
        kept = copy(stored, Path(work) / stored.run)
        verdict, _ = kept.judge(signers)
        plan, first = begun(kept)
        assert isinstance(first.event, e.RunStarted)
        line = timeline(plan, kept.entries())
        told = "".join(f"{printable(said)}\n" for said in lines(kept, plan, line))
        members = {path.name: path.read_bytes() for path in kept.directory.iterdir()}
    members["timeline.txt"] = told.encode()
    members[README] = readme(stored.run, first.event.plan, verdict, ended=isinstance(line.state, s.Ended)).encode()
    members[VERIFY] = verifier()
    if signers is not None:
        members["allowed_signers"] = signers.text.encode()
    return archive(stored.run, members), verdict
