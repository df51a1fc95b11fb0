"""The verifier in every evidence pack: without `dr`, libraries or a network, and of one mind with `dr`."""

import ast
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

from dr.audit import verify_pack
from dr.audit.chain import encode_checkpoint
from dr.report.export import export
from tests.audit.signed import (
    PAUSE,
    Bytes,
    bytes_of,
    mark_of,
    rechained,
    remarked,
    write_signed,
    write_together,
)
from tests.audit.written import RUN, write
from tests.keyring import Keyring, identity

STATUS = {"well": 0, "tampered": 1, "incomplete": 2, "unverifiable": 3}
MAY = "2023-05-15T14:00:00.000000Z"
Attack = Callable[[Bytes, Keyring], Bytes]


class Pack:
    """An unpacked pack, and beside it the list that the auditor trusts, by default the one the pack was made with."""

    def __init__(self, raw: bytes, place: Path) -> None:
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            tar.extractall(place, filter="data")
        self.folder = place / RUN
        self.trusted = place / "trusted"
        if (self.folder / "allowed_signers").is_file():
            shutil.copy(self.folder / "allowed_signers", self.trusted)

    def put(self, attacked: Bytes) -> None:
        for name, lines in (("journal.jsonl", attacked.lines), ("checkpoints.jsonl", attacked.marks)):
            (self.folder / name).write_bytes(b"".join(line + b"\n" for line in lines))

    def verify(self, *options: str) -> int:
        """The verdict in this process, with the list of signers that the auditor trusts."""
        return self.alone("--allowed-signers", str(self.trusted), *options)

    def alone(self, *options: str) -> int:
        """The verdict without that list."""
        return verify_pack.main([*options, str(self.folder)])


@pytest.fixture(scope="module")
def run(keyring: Keyring, tmp_path_factory: pytest.TempPathFactory) -> Bytes:
    return bytes_of(write_signed(tmp_path_factory.mktemp("signed"), keyring))


@pytest.fixture
def pack(keyring: Keyring, tmp_path: Path) -> Pack:
    """The pack of a signed run of thirty entries."""
    raw, verdict = export(write_signed(tmp_path / "journal", keyring), keyring.signers())
    assert verdict.standing == "well"
    return Pack(raw, tmp_path / "pack")


# Without dr, without its libraries, without a network


@cache
def oldest_python() -> str:
    """Of the Pythons on PATH that run, the oldest that the verifier promises to run with."""
    for name in ("python3.8", "python3.9", "python3.10", "python3"):
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return sys.executable


@cache
def unshare() -> list[str]:
    """What runs a program where there is no network at all; empty where that is forbidden."""
    options = "-n" if os.geteuid() == 0 else "-rn"
    tried = [shutil.which("unshare") or "", options]
    works = tried[0] and subprocess.run([*tried, "true"], check=False, capture_output=True).returncode == 0
    return tried if works else []


def without_network(pack: Pack, *options: str) -> tuple[int, str]:
    """The status and the words of the pack's own verifier."""
    if not unshare():
        pytest.skip("this machine forbids network namespaces (unshare -n)")
    done = subprocess.run(
        [*unshare(), oldest_python(), "-I", "-B", "verify.py", "--allowed-signers", str(pack.trusted), *options],
        cwd=pack.folder, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(pack.folder)},
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_pack_is_verified_by_what_is_in_it(pack: Pack, keyring: Keyring) -> None:
    status, said = without_network(pack)
    assert status == 0, said
    assert f"\n{RUN}: 30 entries, head " in said
    key = keyring.key("alice").public.fingerprint
    assert "entries 1-11: signed by alice@example.org at 2023-05-15T14:00:" in said
    assert said.count(key) == 3
    assert said.splitlines()[-1] == "WELL: every entry is behind the chain and behind a signature"


def test_the_verifier_is_written_for_python_3_8() -> None:
    ast.parse(Path(verify_pack.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))


def test_the_verifier_imports_the_standard_library_alone() -> None:
    tree = ast.parse(Path(verify_pack.__file__).read_text(encoding="utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)


# Every attack, seen by both


def insider(run: Bytes, keyring: Keyring, **given: str) -> Bytes:
    """The fifth entry taken out, the chain recomputed, and signed with whatever key there is."""
    lines = rechained([*run.lines[:5], *run.lines[6:]])
    return run.but(lines, [encode_checkpoint(keyring.sign(mark_of(lines, 29, **given), "mallory"))])


def recomputed(run: Bytes) -> Bytes:
    lines = rechained([*run.lines[:5], *run.lines[6:]])
    return run.but(lines, (*remarked(run.marks[:2], lines),))


def forged(run: Bytes, keyring: Keyring, by: str = "alice", namespace: str = "", of: str = RUN, **given: str) -> Bytes:
    """One more checkpoint of the same entries."""
    mark = mark_of(run.lines, 30, run=of, **given)
    signed = keyring.sign(mark, by, **({"namespace": namespace} if namespace else {}))
    return run.but(marks=[*run.marks, encode_checkpoint(signed)])


def unsigned(run: Bytes, keyring: Keyring) -> Bytes:
    signer = keyring.key("alice").public.fingerprint.encode()
    return run.but(rechained([line.replace(b'"signer":"%b"' % signer, b'"signer":""') for line in run.lines]), ())


def in_place_of_the_first(run: Bytes, keyring: Keyring) -> bytes:
    """Bob may sign too; but who began was alice."""
    return encode_checkpoint(keyring.sign(mark_of(run.lines, 1, actor=identity("bob")), "bob"))


def signed_anew(run: Bytes, keyring: Keyring, change: Callable[[bytes], bytes]) -> Bytes:
    """The fifth entry changed by somebody whose key counts."""
    lines = rechained([*run.lines[:5], change(run.lines[5]), *run.lines[6:]])
    marks = [encode_checkpoint(keyring.sign(mark_of(lines, size), "alice")) for size in (1, 30)]
    return run.but(lines, marks)


OTHER = "20230514T100000Z-other-000000"
ATTACKS: dict[str, tuple[Attack, str, str]] = {
    "nothing": (lambda run, _: run, "well", "every entry is behind"),
    "an entry changed": (
        lambda run, _: run.but([*run.lines[:3], run.lines[3].replace(b"a", b"b", 1), *run.lines[4:]]),
        "tampered", "entry 3",
    ),
    "an entry deleted": (
        lambda run, _: run.but([*run.lines[:3], *run.lines[4:]]), "tampered", "entry 3: it does not follow entry 2",
    ),
    "the first entry deleted": (lambda run, _: run.but(run.lines[1:]), "tampered", "entry 0: it is not the first"),
    "a number changed behind the chain": (
        lambda run, _: run.but([run.lines[0].replace(b'"seq":0', b'"seq":7', 1)]), "tampered", "number is not the next",
    ),
    "two entries swapped": (
        lambda run, _: run.but([*run.lines[:3], run.lines[4], run.lines[3], *run.lines[5:]]), "tampered", "entry 3",
    ),
    "an entry duplicated": (lambda run, _: run.but([*run.lines[:4], *run.lines[3:]]), "tampered", "entry 4"),
    "the tail cut": (lambda run, _: run.but(run.lines[:20]), "tampered", "ends"),
    "the tail cut with its checkpoint": (
        lambda run, _: run.but(run.lines[:20], run.marks[:2]), "incomplete", "entries 12-19: behind no signature",
    ),
    "the chain recomputed": (
        lambda run, _: run.but(rechained([*run.lines[:5], *run.lines[6:]])), "tampered", "holds another hash of",
    ),
    "the chain recomputed with its checkpoints": (
        lambda run, _: recomputed(run), "tampered", "its signature is not good",
    ),
    "the chain recomputed and signed with a key of one's own": (insider, "tampered", "not"),
    "the chain recomputed and signed in one's own name": (
        lambda run, keyring: insider(run, keyring, actor=identity("mallory")), "tampered", "not",
    ),
    "rewritten as unsigned": (unsigned, "incomplete", "entries 0-29: behind no signature"),
    "all checkpoints deleted": (lambda run, _: run.but(marks=()), "incomplete", "signed before the first effect"),
    "the first checkpoint deleted": (
        lambda run, _: run.but(marks=run.marks[1:]), "incomplete", "entry 0: alice@example.org began there",
    ),
    "the first checkpoint replaced by somebody else's": (
        lambda run, keyring: run.but(marks=[in_place_of_the_first(run, keyring), *run.marks[1:]]),
        "incomplete", "entry 0: alice@example.org began there",
    ),
    "the last checkpoint deleted": (
        lambda run, _: run.but(marks=run.marks[:2]), "incomplete", "entries 12-29: behind no signature",
    ),
    "a checkpoint of another run": (
        lambda run, keyring: forged(run, keyring, of=OTHER), "tampered", f"it is one of another run ({OTHER})",
    ),
    "a signature over other bytes": (
        lambda run, _: run.but(marks=[*run.marks[:2], run.marks[2].replace(b'"at":"2023', b'"at":"2024')]),
        "tampered", "its signature is not good",
    ),
    "a signature for another purpose": (
        lambda run, keyring: forged(run, keyring, namespace="file"), "tampered", "checkpoint 4",
    ),
    "somebody else's key": (lambda run, keyring: forged(run, keyring, by="bob"), "tampered", "checkpoint 4"),
    "a key that is on no list": (
        lambda run, keyring: forged(run, keyring, by="mallory", actor=identity("mallory")), "tampered", "checkpoint 4",
    ),
    "a time that is none": (lambda run, keyring: forged(run, keyring, at="now"), "tampered", "time cannot be read"),
    "a checkpoint that is none": (lambda run, _: run.but(marks=[*run.marks, b"{}"]), "tampered", "it cannot be read"),
    "an entry of another run": (
        lambda run, _: run.but(rechained([*run.lines[:3], run.lines[3].replace(RUN.encode(), b"x")]), ()),
        "tampered", "entry 3: it belongs to",
    ),
    "an entry that says two things": (
        lambda run, keyring: signed_anew(run, keyring, lambda line: line.replace(b'"type":', b'"step":"z","type":')),
        "tampered", "entry 5: it cannot be read",
    ),
    "an entry that is no JSON to others": (
        lambda run, keyring: signed_anew(run, keyring, lambda line: line[:-1] + b',"more":NaN}'),
        "tampered", "entry 5: it cannot be read",
    ),
    "an actor that is no text": (
        lambda run, keyring: signed_anew(run, keyring, lambda line: line.replace(b'"actor":"', b'"actor":"\\ud800')),
        "tampered", "entry 5: it cannot be read",
    ),
    "no entry behind the chain": (
        lambda run, _: run.but(rechained([*run.lines[:3], run.lines[3][:-1]]), ()), "tampered", "entry 3: it cannot",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_seen_by_both(attack: str, pack: Pack, run: Bytes, keyring: Keyring) -> None:
    do, standing, words = ATTACKS[attack]
    attacked = do(run, keyring)
    judged = attacked.judged(keyring)
    assert judged.standing == standing
    pack.put(attacked)
    status, said = without_network(pack)
    assert status == STATUS[standing], said
    assert words in said
    assert words in " ".join(("every entry is behind", *judged.tampered, *judged.incomplete))


LIMITS = {
    'valid-before="20230515Z"': ("tampered", "expired"),
    'valid-before="20230515"': ("tampered", "expired"),
    'valid-after="20240101Z"': ("tampered", "not yet valid"),
    'namespaces="git"': ("tampered", "namespace"),
    'namespaces="dr-*",valid-after="20230515Z",valid-before="20230516Z"': ("well", "WELL"),
}


@pytest.mark.parametrize("options", LIMITS)
def test_the_limits_of_a_key_are_seen_by_both(options: str, pack: Pack, run: Bytes, keyring: Keyring) -> None:
    standing, words = LIMITS[options]
    text = keyring.line("alice", options)
    assert run.judged(keyring, signers=keyring.signers(text)).standing == standing
    pack.trusted.write_text(text + "\n")
    status, said = without_network(pack)
    assert status == STATUS[standing], said
    assert words in said


# Exhaustively, in this process


def seen(pack: Pack, attacked: Bytes) -> bool:
    pack.put(attacked)
    return pack.verify() == verify_pack.TAMPERED


@pytest.mark.parametrize("at", range(30))
def test_bytes_of_each_entry_flipped_are_seen(
    at: int, pack: Pack, run: Bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each byte of the first and the last entry, and of what the chain is made of; of the others every ninth."""
    line = run.lines[at]
    for byte in range(len(line)) if at in {0, 29} else [*range(80), *range(80, len(line), 9)]:
        flipped = line[:byte] + bytes([line[byte] ^ 1]) + line[byte + 1 :]
        assert seen(pack, run.but([*run.lines[:at], flipped, *run.lines[at + 1 :]], run.marks[2:]))
        said = capsys.readouterr().out
        assert f"entry {at}:" in said or f"follow entry {at}:" in said or f"hash of entry {at}:" in said


def test_each_entry_each_pair_and_each_tail_deleted_and_each_swap_is_seen(pack: Pack, run: Bytes) -> None:
    last = run.marks[2:]
    for first, second in combinations(range(31), 2):  # the thirty-first is none: one entry alone
        left = [line for number, line in enumerate(run.lines) if number not in {first, second}]
        assert seen(pack, run.but(left, last))
        assert seen(pack, run.but(run.lines[:first], last))
        if second < 30:
            swapped = list(run.lines)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            assert seen(pack, run.but(swapped, last))


@pytest.mark.parametrize("number", range(3))
def test_each_byte_of_a_checkpoint_flipped_is_seen(number: int, pack: Pack, run: Bytes) -> None:
    """Of the signature itself only some: each asks OpenSSH's program."""
    mark = run.marks[number]
    signature = mark.index(b',"signature":"')
    for at in [*range(0, signature, 5), *range(signature, len(mark), 23)]:
        flipped = mark[:at] + bytes([mark[at] ^ 1]) + mark[at + 1 :]
        assert seen(pack, run.but(marks=[flipped])), flipped


# What it says of packs that are not whole


def test_two_who_signed_are_told_apart(keyring: Keyring, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, _ = export(write_together(tmp_path / "journal", keyring), keyring.signers())
    assert Pack(raw, tmp_path).verify() == 0
    said = capsys.readouterr().out
    assert "entries 1-11: signed by alice@example.org" in said
    assert "entries 13-30: signed by bob@example.org" in said


def test_the_second_persons_missing_signature_is_seen(keyring: Keyring, tmp_path: Path) -> None:
    stored = write_together(tmp_path / "journal", keyring)
    pack = Pack(export(stored, keyring.signers())[0], tmp_path)
    whole = bytes_of(stored)
    pack.put(whole.but(marks=[*whole.marks[:2], whole.marks[3]]))
    assert pack.verify() == verify_pack.INCOMPLETE


def test_the_auditors_own_list_counts_rather_than_the_packs(
    pack: Pack, keyring: Keyring, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mallory made the pack, and put herself on its list."""
    lines = rechained([*pack_lines(pack)])
    signer = keyring.key("mallory").public.fingerprint.encode()
    lines = rechained([line.replace(keyring.key("alice").public.fingerprint.encode(), signer) for line in lines])
    marks = [encode_checkpoint(keyring.sign(mark_of(lines, size), "mallory")) for size in (1, 30)]
    pack.put(Bytes(lines, tuple(marks)))
    (pack.folder / "allowed_signers").write_text(keyring.line("mallory", who=identity("alice")))
    assert pack.verify() == verify_pack.TAMPERED
    assert "is not accepted for alice@example.org" in capsys.readouterr().out
    by_name = ("--allowed-signers", str(pack.folder / "allowed_signers"))
    (tmp_path / "link").symlink_to(pack.folder / "allowed_signers")
    for options in ((), by_name, ("--allowed-signers", str(tmp_path / "link"))):
        assert pack.alone(*options) == verify_pack.UNVERIFIABLE
        said = capsys.readouterr().out
        assert "UNVERIFIABLE: the pack alone says whose signatures count" in said
        assert ": said to be signed by alice@example.org" in said


def test_a_run_cut_off_at_a_signed_checkpoint_is_said_not_to_have_ended(
    pack: Pack, run: Bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing tells it from a run that was killed there; but nobody, and no script, may take it for a whole one."""
    assert pack.verify() == verify_pack.WELL
    assert "has not ended" not in capsys.readouterr().out
    size = entries_known(run.marks[-2])
    pack.put(Bytes(run.lines[:size], run.marks[:-1]))
    assert pack.verify() == verify_pack.INCOMPLETE
    assert "INCOMPLETE: the run has not ended" in capsys.readouterr().out


def entries_known(mark: bytes) -> int:
    """How many entries the checkpoint knows."""
    size: int = json.loads(mark)["size"]
    return size


def pack_lines(pack: Pack) -> list[bytes]:
    return (pack.folder / "journal.jsonl").read_bytes().split(b"\n")[:-1]


def test_a_plan_that_is_not_the_runs_is_seen(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    (pack.folder / "plan.json").write_bytes((pack.folder / "plan.json").read_bytes().replace(b"drill", b"prod"))
    assert pack.verify() == verify_pack.TAMPERED
    assert "plan.json: it is not the plan that entry 0 names" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["plan.json", "journal.jsonl"])
def test_a_file_that_is_missing_is_incomplete(name: str, pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    (pack.folder / name).unlink()
    assert pack.verify() == verify_pack.INCOMPLETE
    assert f"INCOMPLETE: {name}: it is missing" in capsys.readouterr().out


def test_missing_checkpoints_are_incomplete(pack: Pack) -> None:
    (pack.folder / "checkpoints.jsonl").unlink()
    assert pack.verify() == verify_pack.INCOMPLETE


def test_an_empty_journal_is_incomplete(pack: Pack) -> None:
    pack.put(Bytes((), ()))
    assert pack.verify() == verify_pack.INCOMPLETE


def test_an_emptied_journal_is_tampered_with(pack: Pack, run: Bytes, capsys: pytest.CaptureFixture[str]) -> None:
    pack.put(run.but(()))
    assert pack.verify() == verify_pack.TAMPERED
    assert "holds no entry, but there are checkpoints" in capsys.readouterr().out


def test_without_a_list_of_signers_nothing_is_judged(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    (pack.folder / "allowed_signers").unlink()
    assert pack.alone() == verify_pack.UNVERIFIABLE
    assert "entry 0: said to be signed by alice@example.org" in capsys.readouterr().out


def test_without_ssh_keygen_only_the_chain_is_verified(
    pack: Pack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(pack.folder))
    assert pack.verify() == verify_pack.UNVERIFIABLE
    assert "ssh-keygen is not here: only the chain was verified" in capsys.readouterr().out


def test_a_run_stripped_of_its_signatures_is_no_better_than_one_with_the_packs_own_list(
    pack: Pack, run: Bytes, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    pack.put(unsigned(run, keyring))
    (pack.folder / "allowed_signers").unlink()
    assert pack.alone() == verify_pack.UNVERIFIABLE
    assert "UNVERIFIABLE: UNSIGNED: whoever could write these files" in capsys.readouterr().out
    assert pack.verify() == verify_pack.INCOMPLETE


def test_an_unsigned_run_is_never_well(keyring: Keyring, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = write(tmp_path / "journal")
    assert Pack(export(stored, None)[0], tmp_path / "a").alone() == verify_pack.UNVERIFIABLE
    assert "UNVERIFIABLE: UNSIGNED: whoever could write these files" in capsys.readouterr().out
    assert Pack(export(stored, keyring.signers())[0], tmp_path / "b").alone() == verify_pack.INCOMPLETE


def test_an_unfinished_entry_is_told(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    with (pack.folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"prev":"')
    assert pack.verify() == verify_pack.WELL
    assert "an unfinished entry stands at the end" in capsys.readouterr().out


def test_what_a_power_cut_left_with_holes_is_told(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the journal and of the checkpoints; that of the journal's lines in one write, see `test_journal_attacks`."""
    for name in ("journal.jsonl", "checkpoints.jsonl"):
        with (pack.folder / name).open("ab") as file:
            file.write(b'{"' + bytes(500) + b'"}\n')
    assert pack.verify() == verify_pack.WELL
    assert "an unfinished entry stands at the end" in capsys.readouterr().out


def test_a_second_signature_of_the_same_entries_is_told(
    pack: Pack, run: Bytes, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    pack.put(forged(run, keyring, by="bob", actor=identity("bob")))
    assert pack.verify() == verify_pack.WELL
    assert "the same: signed by bob@example.org" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":1}',
        b"[]",
        b'{"event":{},"event":{}}',
        b"\xff",
        b"[" * 100_000,
        b'{"a":{"x":1,"x":2},"event":{}}',
        b'{"a":NaN}',
    ],
)
def test_a_line_that_could_be_read_in_two_ways_is_no_entry(line: bytes, pack: Pack, run: Bytes) -> None:
    head = b'{"prev":"%b","seq":0,' % (b"0" * 64)
    rest = line[1:] if line.startswith(b"{") else b'"x":' + line + b"}"
    pack.put(run.but([head + rest], ()))
    assert pack.verify() == verify_pack.TAMPERED


def test_what_stands_in_a_pack_cannot_steer_the_terminal(
    pack: Pack, run: Bytes, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    pack.put(forged(run, keyring, by="mallory", actor="\x1b[2J\nWELL: trust me"))
    assert pack.verify() == verify_pack.TAMPERED
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\nWELL" not in said


def test_the_program_ends_with_its_verdict(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the folder it lies in as the pack."""
    trusted = ["--allowed-signers", str(pack.trusted)]
    monkeypatch.setattr(sys, "argv", ["verify.py", *trusted])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(pack.folder / "verify.py"), run_name="__main__")
    assert left.value.code == verify_pack.WELL
    monkeypatch.setattr(sys, "argv", ["verify.py", *trusted, str(pack.folder.parent)])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(verify_pack.__file__, run_name="__main__")
    assert left.value.code == verify_pack.INCOMPLETE


def test_a_wrong_command_line_is_no_verdict(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_pack.main(["--frobnicate"]) == verify_pack.USAGE
    assert pack.alone("--allowed-signers", str(pack.folder / "none")) == verify_pack.USAGE
    assert "there is no file" in capsys.readouterr().err
    assert verify_pack.main(["--help"]) == 0


# Packs made to lead astray, or to wear out who verifies them


@pytest.mark.parametrize("name", verify_pack.FILES)
def test_a_link_in_a_pack_is_refused(name: str, pack: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bytes are right today; but they are not in the pack."""
    shutil.move(pack.folder / name, tmp_path / "elsewhere")
    (pack.folder / name).symlink_to(tmp_path / "elsewhere")
    assert pack.verify() == verify_pack.TAMPERED
    assert f"{name}: it is a link" in capsys.readouterr().out


def test_another_runs_files_under_a_runs_name_are_seen(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    other = pack.folder.rename(pack.folder.with_name(OTHER))
    assert verify_pack.main(["--allowed-signers", str(pack.trusted), str(other)]) == verify_pack.TAMPERED
    assert f"the folder is called after another run than it holds: {RUN}" in capsys.readouterr().out
    own = other.rename(other.with_name("evidence-of-may"))
    assert verify_pack.main(["--allowed-signers", str(pack.trusted), str(own)]) == verify_pack.WELL


def test_entries_in_the_name_of_somebody_who_has_not_signed_them_are_told_by_both(
    keyring: Keyring, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bob's signature counts; he has written entries in the name of one who is called nearly as alice is."""
    lookalike = identity("alice").replace("a", "\N{CYRILLIC SMALL LETTER A}", 1)
    stored = write_together(tmp_path / "journal", keyring, killed=True)
    whole = bytes_of(stored)
    bob = keyring.key("bob").public.fingerprint.encode()
    lines = rechained([
        line.replace(identity("bob").encode(), lookalike.encode()).replace(
            keyring.key("alice").public.fingerprint.encode(), bob
        )
        for line in whole.lines
    ])  # fmt: skip
    marks = [
        encode_checkpoint(keyring.sign(mark_of(lines, size, actor=identity("bob")), "bob")) for size in (1, 13, 31)
    ]
    forged_run = Bytes(lines, tuple(marks))
    pack = Pack(export(stored, keyring.signers())[0], tmp_path)
    pack.put(forged_run)
    notes = forged_run.judged(keyring).notes
    assert [note.partition(",")[0] for note in notes] == [
        "entries 0-11: in the name of alice@example.org",
        f"entries 12-30: in the name of {lookalike}",
    ]
    assert pack.verify() == verify_pack.WELL
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if "in the name of" in line] == [
        note.replace(lookalike, r"\u0430lice@example.org") for note in notes
    ]


def test_times_that_go_back_are_told_by_both(
    pack: Pack, run: Bytes, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever signs with a key that has expired must write an old date, and what was written since has its own."""
    lines = list(run.lines)
    for seq in (20, 29):
        lines[seq] = lines[seq].replace(b'"at":"2023-05', b'"at":"2026-05')
    made = rechained(lines)
    marks = [encode_checkpoint(keyring.sign(mark_of(made, size, at=MAY), "alice")) for size in (1, 30)]
    forged_run = run.but(made, marks)
    why = "a clock went back, or one of the two was not written then"
    notes = (
        f"entry 21: its time is before that of entry 20: {why}",
        f"entry 29: signed by alice@example.org for a time before its own: {why}",
    )
    assert forged_run.judged(keyring).notes == notes
    pack.put(forged_run)
    assert pack.verify() == verify_pack.WELL
    assert tuple(line for line in capsys.readouterr().out.splitlines() if why in line) == notes


def test_nothing_is_said_of_names_where_each_has_signed_for_himself(
    keyring: Keyring, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = write_together(tmp_path / "journal", keyring)
    assert Pack(export(stored, keyring.signers())[0], tmp_path).verify() == verify_pack.WELL
    assert "in the name of" not in capsys.readouterr().out
    assert bytes_of(stored).judged(keyring).notes == ()


@pytest.mark.parametrize("name", ["journal.jsonl", "checkpoints.jsonl"])
def test_a_file_that_is_too_large_is_not_read_to_its_end(
    name: str, pack: Pack, capsys: pytest.CaptureFixture[str]
) -> None:
    with (pack.folder / name).open("ab") as file:
        file.truncate(verify_pack.LARGEST + 1)  # a hole: it takes no room on the disk, and packs well
    assert pack.verify() == verify_pack.UNVERIFIABLE
    assert f"{name}: it is larger than 1073741824 bytes" in capsys.readouterr().out


def test_checkpoints_without_end_are_not_all_tried(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    (pack.folder / "checkpoints.jsonl").write_bytes(b"{}\n" * (verify_pack.MOST + 1))
    assert pack.verify() == verify_pack.UNVERIFIABLE
    assert "holds more than 10000 checkpoints" in capsys.readouterr().out


def test_a_name_too_long_for_a_program_is_no_checkpoint(
    pack: Pack, run: Bytes, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    pack.put(forged(run, keyring, actor="a" * 200_000))
    assert pack.verify() == verify_pack.TAMPERED
    assert "checkpoint 4: it cannot be read" in capsys.readouterr().out


def test_a_number_of_a_million_digits_is_read_at_once(pack: Pack, run: Bytes) -> None:
    """Python before 3.11 would take hours to make an int of a large one."""
    line = run.lines[0].replace(b'"format":1', b'"format":' + b"1" * 1_000_000)
    pack.put(Bytes(rechained([line]), ()))
    assert pack.verify() == verify_pack.INCOMPLETE


@pytest.mark.parametrize("name", ["run", "at", "actor"])
def test_an_entry_without_words_where_there_must_be_some_is_none(name: str, pack: Pack, run: Bytes) -> None:
    entry = json.loads(run.lines[0])
    entry[name] = ["a", "list"]
    pack.put(run.but(rechained([json.dumps(entry, separators=(",", ":")).encode()]), ()))
    assert pack.verify() == verify_pack.TAMPERED


def test_a_pack_that_the_system_refuses_to_read_is_unverifiable(
    pack: Pack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "plan.json")

    monkeypatch.setattr(Path, "open", refuses)
    assert pack.verify() == verify_pack.UNVERIFIABLE
    assert "UNVERIFIABLE: the system refused: [Errno 13]" in capsys.readouterr().out


def test_files_that_nobody_judged_are_named(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    (pack.folder / "journal.jsonl.true").write_text("what really happened")
    assert pack.verify() == verify_pack.WELL
    assert "not judged: README.txt, journal.jsonl.true, timeline.txt, verify.py\n" in capsys.readouterr().out


def test_what_was_done_is_told_from_the_entries_that_were_verified(
    pack: Pack, run: Bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (pack.folder / "timeline.txt").write_text("nothing was done")
    assert pack.verify("--entries") == verify_pack.WELL
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert len(told) == 30
    for line, raw in zip(told, run.lines, strict=True):
        entry = json.loads(raw)
        seq, at, actor, kind, rest = line.split(maxsplit=4)
        assert (int(seq), at, actor) == (entry["seq"], entry["at"], entry["actor"])
        assert {"type": kind, **json.loads(rest)} == entry["event"]


def test_the_checkpoint_at_the_pause_is_where_the_tests_think(run: Bytes) -> None:
    assert len(run.lines) == 30
    assert f'"size":{PAUSE},'.encode() in run.marks[1]
