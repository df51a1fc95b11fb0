"""The archive of an evidence pack, and its words."""

import io
import tarfile
import time

import pytest

from dr.audit.chain import Head
from dr.audit.pack import archive, readme, verifier
from dr.audit.verdict import Signed, Verdict

MEMBERS = {"b.txt": b"second", "a.json": b"{}"}
HEAD = Head(30, "ab" * 32)
SIGNED = Signed(size=12, at="2023-05-15T14:00:00.000000Z", actor="alice@example.org", key="SHA256:abc")


def test_the_same_files_give_the_same_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = archive("run", MEMBERS)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert archive("run", dict(reversed(MEMBERS.items()))) == first


def test_an_archive_holds_the_files_and_nothing_of_the_machine() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive("run", MEMBERS))) as tar:
        found = {item.name: tar.extractfile(item).read() for item in tar}  # type: ignore[union-attr]
        marks = {(item.mtime, item.uid, item.gid, item.uname, item.mode) for item in tar}
    assert found == {"run/a.json": b"{}", "run/b.txt": b"second"}
    assert marks == {(0, 0, 0, "", 0o644)}


def test_the_verifier_is_the_program_of_this_project() -> None:
    compile(verifier(), "verify.py", "exec")
    assert b"\nfrom dr" not in verifier()


def test_the_words_say_what_was_proven() -> None:
    text = readme(
        "a run",
        "cd" * 32,
        Verdict(head=HEAD, signed=(SIGNED,), judged=True, expected=True, notes=("note",)),
        ended=True,
    )
    assert "Evidence of the recovery run a run" in text
    assert "holds 30 entries" in text
    assert "ab" * 32 in text
    assert "cd" * 32 in text
    assert "- entries 0-11: signed by alice@example.org at 2023-05-15T14:00:00.000000Z (SHA256:abc)" in text
    assert "- entries 12-29: behind no signature, only behind the chain" in text
    assert "- note" in text
    assert "UNSIGNED" not in text


def test_the_words_say_what_is_missing() -> None:
    assert "- INCOMPLETE: this" in readme("r", "", Verdict(head=HEAD, expected=True, incomplete=("this",)), ended=True)
    assert "- UNSIGNED: who did it is not proven" in readme("r", "", Verdict(head=HEAD), ended=True)
    assert "- INCOMPLETE: the run had not ended" in readme("r", "", Verdict(head=HEAD), ended=False)


def test_the_words_say_what_cannot_be_proven() -> None:
    text = readme("r", "", Verdict(head=HEAD), ended=True)
    assert "the run had not ended" not in text
    for doubt in ("When it was.", "missing after the last signature", "no other run", "what the entries say is true"):
        assert doubt in text.partition("WHAT THIS CANNOT PROVE")[2]
