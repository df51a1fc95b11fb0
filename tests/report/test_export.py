"""The evidence pack of a run, made from its journal."""

import io
import tarfile
from pathlib import Path

import pytest

from dr.audit.book import LocalBook
from dr.audit.journal import CHECKPOINTS, JOURNAL, PLAN
from dr.audit.pack import verifier
from dr.errors import JournalBroken, NoSuchRun, PlanChanged
from dr.report.export import export
from tests.audit.signed import write_signed
from tests.audit.written import RUN, create, write
from tests.keyring import Keyring


def unpacked(raw: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        found = {item.name: tar.extractfile(item) for item in tar}
        return {name.removeprefix(f"{RUN}/"): file.read() for name, file in found.items() if file}


def test_a_pack_holds_the_run_byte_for_byte_and_what_verifies_it(keyring: Keyring, tmp_path: Path) -> None:
    stored = write_signed(tmp_path, keyring)
    (stored.directory / "torn-7").write_bytes(b'{"prev":"unfinis')
    raw, verdict = export(stored, keyring.signers())
    held = unpacked(raw)
    for name in (PLAN, JOURNAL, CHECKPOINTS, "torn-7"):
        assert held.pop(name) == (stored.directory / name).read_bytes()
    assert held.pop("allowed_signers") == keyring.allowed.encode()
    assert held.pop("verify.py") == verifier()
    assert held.pop("README.txt").startswith(f"Evidence of the recovery run {RUN}\n".encode())
    assert held.pop("timeline.txt").count(b"alice@example.org") >= 30
    assert held == {}
    assert verdict.standing == "well"


def test_the_same_run_gives_the_same_bytes(keyring: Keyring, tmp_path: Path) -> None:
    stored = write_signed(tmp_path, keyring)
    first, _ = export(stored, keyring.signers())
    (stored.directory / JOURNAL).touch()
    assert export(LocalBook(tmp_path).find(RUN), keyring.signers())[0] == first


def test_a_pack_without_signers_names_none(keyring: Keyring, tmp_path: Path) -> None:
    raw, verdict = export(write_signed(tmp_path, keyring), None)
    assert "allowed_signers" not in unpacked(raw)
    assert verdict.standing == "unverifiable"
    assert b"said to be signed by alice@example.org" in unpacked(raw)["README.txt"]


def test_an_unsigned_run_is_exported_and_said_to_be(tmp_path: Path) -> None:
    raw, verdict = export(write(tmp_path), None)
    assert verdict.standing == "well"
    assert b"UNSIGNED" in unpacked(raw)["README.txt"]


def test_nothing_is_exported_of_what_was_tampered_with(keyring: Keyring, tmp_path: Path) -> None:
    stored = write_signed(tmp_path, keyring)
    path = stored.directory / CHECKPOINTS
    path.write_bytes(path.read_bytes().replace(b'"size":12', b'"size":11'))
    with pytest.raises(JournalBroken, match=r"checkpoint 2, of alice@example\.org at size 11"):
        export(stored, keyring.signers())


def test_nothing_is_exported_of_a_changed_plan_or_of_nothing(tmp_path: Path) -> None:
    stored = write(tmp_path / "a")
    (stored.directory / PLAN).write_bytes(b"{}")
    with pytest.raises(PlanChanged):
        export(stored, None)
    create(tmp_path / "b").close()
    with pytest.raises(NoSuchRun):
        export(LocalBook(tmp_path / "b").find(RUN), None)
