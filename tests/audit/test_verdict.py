"""What the bytes of a signed run prove, and every attack on them that is known, by name."""

import re
from itertools import combinations
from pathlib import Path

import pytest

from dr.audit.chain import decode_checkpoint, encode_checkpoint, signed_bytes
from dr.audit.signature import parse, verify
from dr.audit.verdict import judge
from tests.audit.signed import PAUSE, Bytes, bytes_of, mark_of, rechained, remarked, write_signed, write_together
from tests.audit.written import RUN, write
from tests.keyring import Keyring, identity


@pytest.fixture(scope="module")
def run(keyring: Keyring, tmp_path_factory: pytest.TempPathFactory) -> Bytes:
    """Thirty entries, signed by alice after the first, at a pause and at the end."""
    return bytes_of(write_signed(tmp_path_factory.mktemp("signed"), keyring))


@pytest.fixture(scope="module")
def together(keyring: Keyring, tmp_path_factory: pytest.TempPathFactory) -> Bytes:
    """Alice began and paused; bob went on."""
    return bytes_of(write_together(tmp_path_factory.mktemp("together"), keyring))


# What it proves


def test_a_signed_run_is_well_and_every_entry_is_behind_a_signature(run: Bytes, keyring: Keyring) -> None:
    verdict = run.judged(keyring)
    assert verdict.standing == "well"
    assert verdict.covered == verdict.head.size == 30
    key = keyring.key("alice").public.fingerprint
    assert [line.split(" at ")[0] for line in verdict.behind()] == [
        "entry 0: signed by alice@example.org",
        "entries 1-11: signed by alice@example.org",
        "entries 12-29: signed by alice@example.org",
    ]
    assert all(line.endswith(f"Z ({key})") for line in verdict.behind())
    assert verdict.notes == ()


def test_two_who_signed_are_told_apart(together: Bytes, keyring: Keyring) -> None:
    verdict = together.judged(keyring)
    assert verdict.standing == "well"
    assert [line.split(" at ")[0] for line in verdict.behind()] == [
        "entry 0: signed by alice@example.org",
        "entries 1-11: signed by alice@example.org",
        "entry 12: signed by bob@example.org",
        "entries 13-30: signed by bob@example.org",
    ]
    assert verdict.notes == ()


def test_entries_in_the_name_of_somebody_who_has_not_signed_them_are_told(keyring: Keyring, tmp_path: Path) -> None:
    """A kill -9 leaves them so, and so would bob, were he to write in her name."""
    verdict = bytes_of(write_together(tmp_path, keyring, killed=True)).judged(keyring)
    assert verdict.standing == "well"
    assert verdict.notes == ("entries 1-11: in the name of alice@example.org, who has not signed them; others have",)


def test_a_second_signature_of_the_same_entries_is_told(run: Bytes, keyring: Keyring) -> None:
    both = run.but(
        marks=(*run.marks, encode_checkpoint(keyring.sign(mark_of(run.lines, 30, actor=identity("bob")), "bob")))
    )
    *_, last = both.judged(keyring).behind()
    assert last.startswith("the same: signed by bob@example.org at ")


def test_a_run_whose_signers_nobody_named_is_unverifiable(run: Bytes, keyring: Keyring) -> None:
    verdict = run.judged(keyring, signers=None)
    assert verdict.standing == "unverifiable"
    assert next(verdict.behind()).startswith("entry 0: said to be signed by alice@example.org at ")


def test_an_unsigned_run_is_well_where_nobody_was_named_to_sign(keyring: Keyring, tmp_path: Path) -> None:
    run = bytes_of(write(tmp_path))
    assert run.judged(keyring, signers=None).standing == "well"
    assert not run.judged(keyring, signers=None).expected


def test_an_unsigned_run_is_incomplete_where_somebody_was_named_to_sign(keyring: Keyring, tmp_path: Path) -> None:
    run = bytes_of(write(tmp_path))
    verdict = run.judged(keyring)
    assert verdict.standing == "incomplete"
    assert verdict.incomplete == ("entries 0-29: behind no signature, only behind the chain",)
    assert run.judged(keyring, allow_unsigned=True).standing == "well"


def test_an_empty_journal_is_no_riddle(keyring: Keyring) -> None:
    assert judge(RUN, [], [], None).standing == "well"
    assert judge(RUN, [], [], keyring.signers()).standing == "well"
    assert judge(RUN, [], [], keyring.signers()).head.size == 0


@pytest.mark.parametrize("number", range(3))
def test_every_signature_is_one_over_the_line_without_its_end(run: Bytes, number: int) -> None:
    """So that nobody has to serialise anything to verify it."""
    mark = decode_checkpoint(run.marks[number])
    cut = run.marks[number].index(b',"signature":"')
    assert signed_bytes(mark) == run.marks[number][:cut] + b"}"
    verify(parse(mark.signature), run.marks[number][:cut] + b"}")


# Exhaustively, on a signed run of thirty entries


def named(finding: str) -> set[int]:
    """The entries that a finding names."""
    return {int(number) for number in re.findall(r"entry (\d+)", finding)}


def assert_seen(attacked: Bytes, keyring: Keyring, *entries: int) -> None:
    """It is tampered with, and one of these entries is named."""
    verdict = attacked.judged(keyring)
    assert verdict.standing == "tampered"
    assert named(" ".join(verdict.tampered)) & set(entries), verdict.tampered


@pytest.mark.parametrize("at", range(30))
def test_each_byte_of_each_entry_flipped_is_seen(at: int, run: Bytes, keyring: Keyring) -> None:
    line = run.lines[at]
    for byte in range(len(line)):
        flipped = line[:byte] + bytes([line[byte] ^ 1]) + line[byte + 1 :]
        # The last signature alone, and so in a third of the time.
        assert_seen(run.but([*run.lines[:at], flipped, *run.lines[at + 1 :]], run.marks[2:]), keyring, at)


@pytest.mark.parametrize("at", range(30))
def test_each_entry_deleted_is_seen(at: int, run: Bytes, keyring: Keyring) -> None:
    assert_seen(run.but([*run.lines[:at], *run.lines[at + 1 :]]), keyring, at, at + 1)


def test_each_pair_of_entries_deleted_is_seen(run: Bytes, keyring: Keyring) -> None:
    for first, second in combinations(range(30), 2):
        left = [line for number, line in enumerate(run.lines) if number not in {first, second}]
        # The first of a gap is named by the number that should have stood there.
        assert_seen(run.but(left), keyring, first, first + 1)


def test_each_two_entries_swapped_are_seen(run: Bytes, keyring: Keyring) -> None:
    for first, second in combinations(range(30), 2):
        lines = list(run.lines)
        lines[first], lines[second] = lines[second], lines[first]
        assert_seen(run.but(lines), keyring, first)


def test_each_entry_duplicated_is_seen(run: Bytes, keyring: Keyring) -> None:
    for at in range(30):
        assert_seen(run.but([*run.lines[: at + 1], *run.lines[at:]]), keyring, at + 1)


@pytest.mark.parametrize("left", range(30))
def test_the_tail_cut_at_each_length_is_seen(left: int, run: Bytes, keyring: Keyring) -> None:
    verdict = run.but(run.lines[:left]).judged(keyring)
    assert verdict.standing == "tampered"
    known = next(size for size in (1, PAUSE, 30) if size > left)
    [finding] = verdict.tampered
    assert finding.startswith(f"entry {left}: the journal ends here, but the checkpoint that alice@example.org signed")
    assert finding.endswith(f"knows {known} entries: the tail was cut off")


@pytest.mark.parametrize("left", range(1, 30))
def test_the_tail_cut_together_with_its_checkpoints_is_incomplete(left: int, run: Bytes, keyring: Keyring) -> None:
    """What no signature covers could have been the end; but it does not pass for a whole run, unless one covers it."""
    kept = [mark for mark in run.marks if decode_checkpoint(mark).size <= left]
    verdict = run.but(run.lines[:left], kept).judged(keyring)
    assert verdict.standing == ("well" if left in {1, PAUSE} else "incomplete")


# By an insider who can write every file, and has no key that counts


@pytest.mark.parametrize("at", range(30))
def test_an_entry_changed_and_the_chain_recomputed_is_seen(at: int, run: Bytes, keyring: Keyring) -> None:
    changed = run.lines[at].replace(b'"actor":"alice@', b'"actor":"alise@')
    lines = rechained([*run.lines[:at], changed, *run.lines[at + 1 :]])
    verdict = run.but(lines).judged(keyring)
    covering = next(size for size in (1, PAUSE, 30) if size > at)
    assert f"entry {covering - 1}: the checkpoint that alice@example.org signed" in verdict.tampered[0]
    assert "this entry or one before it was changed" in verdict.tampered[0]


def test_checkpoints_made_to_fit_a_recomputed_chain_lose_their_signatures(run: Bytes, keyring: Keyring) -> None:
    lines = rechained([*run.lines[:5], *run.lines[6:]])
    marks = remarked([run.marks[0]], lines) + remarked([run.marks[1]], lines)
    verdict = run.but(lines, marks).judged(keyring)
    why = "its signature is not good: it was made over other bytes than these"
    assert verdict.tampered == (f"checkpoint 2, of alice@example.org at size 12: {why}",)


def test_a_recomputed_chain_with_unsigned_checkpoints_is_incomplete(run: Bytes, keyring: Keyring) -> None:
    lines = rechained([*run.lines[:5], *run.lines[6:]])
    marks = [encode_checkpoint(mark_of(lines, size)) for size in (1, 29)]
    verdict = run.but(lines, marks).judged(keyring)
    assert verdict.standing == "incomplete"
    assert "entries 0-28: behind no signature, only behind the chain" in verdict.incomplete


def test_a_run_rewritten_as_an_unsigned_one_is_incomplete(run: Bytes, keyring: Keyring) -> None:
    """Only whoever has named the signers sees it: to everybody else it is an unsigned run."""
    signer = keyring.key("alice").public.fingerprint.encode()
    lines = rechained([line.replace(b'"signer":"%b"' % signer, b'"signer":""') for line in run.lines])
    assert run.but(lines, ()).judged(keyring).standing == "incomplete"
    assert run.but(lines, ()).judged(keyring, signers=None).standing == "well"


def test_a_recomputed_chain_signed_by_the_insider_is_seen(run: Bytes, keyring: Keyring) -> None:
    lines = rechained([*run.lines[:5], *run.lines[6:]])
    for name in ("alice", "mallory"):
        forged = keyring.sign(mark_of(lines, 29, actor=identity(name)), "mallory")
        verdict = run.but(lines, [encode_checkpoint(forged)]).judged(keyring)
        assert verdict.standing == "tampered"
        assert f"the key {keyring.key('mallory').public.fingerprint} is not in allowed_signers" in verdict.tampered[0]


# Checkpoints


def test_all_checkpoints_deleted_is_incomplete_and_not_tampered(run: Bytes, keyring: Keyring) -> None:
    for signers in (keyring.signers(), None):
        verdict = run.but(marks=()).judged(keyring, signers=signers)
        assert verdict.standing == "incomplete"
        assert verdict.incomplete[0] == "entries 0-29: behind no signature, only behind the chain"
        assert (
            "began there and signed before the first effect (entry 1); the signature is missing"
            in verdict.incomplete[1]
        )


@pytest.mark.parametrize("gone, standing", [(0, "incomplete"), (1, "well"), (2, "incomplete")])
def test_a_checkpoint_deleted_is_incomplete_where_it_was_owed(
    gone: int, standing: str, run: Bytes, keyring: Keyring
) -> None:
    """A later signature covers what an earlier one did; but the one before the first effect is always there."""
    verdict = run.but(marks=[mark for number, mark in enumerate(run.marks) if number != gone]).judged(keyring)
    assert verdict.standing == standing


def test_the_missing_first_signature_of_the_second_person_is_seen(together: Bytes, keyring: Keyring) -> None:
    verdict = together.but(marks=[together.marks[0], together.marks[1], together.marks[3]]).judged(keyring)
    assert verdict.standing == "incomplete"
    assert verdict.incomplete[0].startswith("entry 12: bob@example.org began there and signed before the first effect")


def test_whoever_did_nothing_owes_no_signature(run: Bytes, keyring: Keyring) -> None:
    """Alice's agent refused at the start, so nothing was touched; then she went on, and it signed."""
    beginning = run.lines[0].partition(b'"event":')[0]
    signer = keyring.key("alice").public.fingerprint.encode()
    resumed = b'%b"event":{"type":"run-resumed","signer":"%b"}}' % (beginning, signer)
    lines = rechained([run.lines[0], resumed, *run.lines[1:]])
    marks = [encode_checkpoint(keyring.sign(mark_of(lines, size))) for size in (2, 31)]
    assert run.but(lines, marks).judged(keyring).standing == "well"
    assert run.but(lines, marks[1:]).judged(keyring).incomplete[0].startswith("entry 1: alice@example.org began there")


@pytest.mark.parametrize("number", range(3))
def test_each_byte_of_a_signed_checkpoint_flipped_is_seen(number: int, run: Bytes, keyring: Keyring) -> None:
    mark = run.marks[number]
    for at in range(len(mark)):
        flipped = mark[:at] + bytes([mark[at] ^ 1]) + mark[at + 1 :]
        verdict = run.but(marks=[*run.marks[:number], flipped, *run.marks[number + 1 :]]).judged(keyring)
        assert verdict.standing == "tampered"
        assert verdict.tampered[0].startswith(f"checkpoint {number + 1}")


def test_a_checkpoint_of_another_run_is_seen(run: Bytes, keyring: Keyring) -> None:
    """A good signature of the right person, over another run that happens to be as long."""
    other = keyring.sign(mark_of(run.lines, 30, run="20230514T100000Z-other-000000"))
    verdict = run.but(marks=[*run.marks, encode_checkpoint(other)]).judged(keyring)
    assert verdict.tampered == (
        "checkpoint 4, of alice@example.org at size 30: it is one of another run (20230514T100000Z-other-000000)",
    )


def forged(
    run: Bytes, keyring: Keyring, *, name: str = "alice", by: str = "", namespace: str = "", **given: str
) -> str:
    mark = mark_of(run.lines, 30, actor=identity(name), **given)
    signed = keyring.sign(mark, by or name, **({"namespace": namespace} if namespace else {}))
    verdict = run.but(marks=[run.marks[0], encode_checkpoint(signed)]).judged(keyring)
    assert verdict.standing == "tampered"
    return verdict.tampered[0]


def test_a_key_that_is_on_no_list_is_seen(run: Bytes, keyring: Keyring) -> None:
    assert "is not in allowed_signers" in forged(run, keyring, name="mallory")


def test_a_key_that_is_somebody_elses_is_seen(run: Bytes, keyring: Keyring) -> None:
    assert "is the one of bob@example.org, not of alice@example.org" in forged(run, keyring, by="bob")


def test_a_signature_for_another_purpose_is_seen(run: Bytes, keyring: Keyring) -> None:
    """Alice signed these very bytes, as a file."""
    assert "made for another purpose (namespace 'file')" in forged(run, keyring, namespace="file")


def test_a_time_that_is_none_is_seen(run: Bytes, keyring: Keyring) -> None:
    for at in ("yesterday", "2023-05-15T14:00:00", "2023-05-15T14:00:00.000000+02:00", "2023-13-15T14:00:00.000000Z"):
        assert f"its time cannot be read: '{at}'" in forged(run, keyring, at=at)


@pytest.mark.parametrize(
    "options, why",
    [
        ('valid-before="20230515135959Z"', "had expired then (valid-before 2023-05-15T13:59:59Z)"),
        ('valid-after="20240101Z"', "was not yet valid then (valid-after 2024-01-01T00:00:00Z)"),
        ('namespaces="git"', "is not allowed for checkpoints"),
    ],
)
def test_a_key_outside_of_its_limits_is_seen(options: str, why: str, run: Bytes, keyring: Keyring) -> None:
    verdict = run.judged(keyring, signers=keyring.signers(keyring.line("alice", options)))
    assert verdict.standing == "tampered"
    assert len(verdict.tampered) == 3
    assert all(why in finding for finding in verdict.tampered)


def test_a_key_that_expired_after_it_signed_is_well(run: Bytes, keyring: Keyring) -> None:
    signers = keyring.signers(keyring.line("alice", 'valid-before="20230516Z"'))
    assert run.judged(keyring, signers=signers).standing == "well"


def test_two_signed_heads_for_one_size_cannot_both_hold(run: Bytes, keyring: Keyring) -> None:
    """The holder of a good key cannot have said two things either."""
    lines = rechained([*run.lines[:-1], run.lines[-1].replace(b"well", b"deviated")])
    other = encode_checkpoint(keyring.sign(mark_of(lines, 30)))
    verdict = run.but(marks=[*run.marks, other]).judged(keyring)
    assert "entry 29: the checkpoint that alice@example.org signed" in verdict.tampered[0]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"run":"r"}',
        b'{"run":"r","size":1,"head":"h","at":"t","actor":"a","more":1}',
        b'{"size":1,"run":"r","head":"h","at":"t","actor":"a"}',
        b'{"run":"r", "size":1,"head":"h","at":"t","actor":"a"}',
        b'{"run":"r","size":1,"size":2,"head":"h","at":"t","actor":"a"}',
        b'{"run":"r","size":1,"head":"h","at":"t","actor":"a","signature":"s","unsigned":"u"}',
    ],
)
def test_a_line_that_could_be_read_in_two_ways_is_no_checkpoint(line: bytes, run: Bytes, keyring: Keyring) -> None:
    verdict = run.but(marks=[*run.marks, line]).judged(keyring)
    assert verdict.tampered[0].startswith("checkpoint 4: it cannot be read")


# What the entries themselves say


def test_an_entry_of_another_run_behind_the_chain_is_seen(run: Bytes, keyring: Keyring) -> None:
    lines = rechained([*run.lines[:3], run.lines[3].replace(RUN.encode(), b"another"), *run.lines[4:]])
    assert "entry 3: it belongs to the run another" in run.but(lines, ()).judged(keyring).tampered[0]


def test_a_line_that_is_no_entry_behind_the_chain_is_seen(run: Bytes, keyring: Keyring) -> None:
    lines = rechained([*run.lines[:3], run.lines[3][:-1], *run.lines[4:]])
    assert run.but(lines, ()).judged(keyring).tampered[0].startswith("entry 3: it cannot be read")


def test_why_a_run_is_unsigned_is_told(keyring: Keyring, tmp_path: Path) -> None:
    run = bytes_of(write(tmp_path))
    said = rechained([run.lines[0].replace(b'"unsigned":""', b'"unsigned":"the agent is on fire"'), *run.lines[1:]])
    assert run.but(said, ()).judged(keyring).incomplete == (
        "entries 0-29: behind no signature, only behind the chain (the run says why: the agent is on fire)",
    )


def test_why_the_last_checkpoint_is_unsigned_is_told(run: Bytes, keyring: Keyring) -> None:
    last = encode_checkpoint(mark_of(run.lines, 30, unsigned="the agent is gone"))
    assert run.but(marks=[*run.marks[:2], last]).judged(keyring).incomplete == (
        "entries 12-29: behind no signature, only behind the chain (the run says why: the agent is gone)",
    )
