"""Attacks on a signed run in a real bucket, as an auditor meets them who has nothing but its address and a list of
signers: `dr audit verify` fails, and names the entry.

What is seen by somebody who has a good copy is in `test_home` and, for each entry, in `tests/audit/test_comparison`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from dr.audit.chain import decode_checkpoint, encode_checkpoint
from dr.audit.copies import checkpoint_key, entries_key, plan_key, whole_key
from dr.audit.ledger import LEDGER
from localstack.instance import LocalStack
from tests.audit.signed import mark_of, rechained, remarked
from tests.cli.shell import FLAGS, GOOD, SHOP, Outcome, dr, write
from tests.keyring import Keyring, identity
from tests.localstack_fixture import create_buckets
from tests.s3_world import S3Bucket

PREFIX = "journals"


class Home:
    """A home with two runs, in a bucket of its own, in an insider's hands."""

    def __init__(self, bucket: S3Bucket, written: Mapping[str, bytes]) -> None:
        self.bucket = bucket
        self.written = written
        bucket.put_all(written)
        self.other, self.run = sorted({key.split("/")[1] for key in written if key.startswith("runs/")})

    def entry(self, number: int) -> str:
        """The key of the object that has this entry; the last two are in one."""
        return entries_key(self.run, number)

    def lines(self, run: str = "") -> list[bytes]:
        return self.written[whole_key(run or self.run)].split(b"\n")[:-1]

    def marks(self, run: str = "") -> list[bytes]:
        prefix = f"runs/{run or self.run}/checkpoints/"
        return [data for key, data in sorted(self.written.items()) if key.startswith(prefix)]

    def rewrite(self, lines: Sequence[bytes], marks: Sequence[bytes]) -> None:
        """The run as an insider would have it: each line in an object of its own."""
        self.bucket.remove(f"runs/{self.run}/")
        ended = {plan_key(self.run): self.written[plan_key(self.run)], whole_key(self.run): joined(lines)}
        entries = {entries_key(self.run, number): joined([line]) for number, line in enumerate(lines)}
        self.bucket.put_all({**ended, **entries, **{checkpoint_key(self.run, mark): mark for mark in marks}})


def joined(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


@pytest.fixture(scope="module")
def written(localstack: LocalStack, keyring: Keyring, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """What two runs have written to their home, which alice has signed."""
    folder = tmp_path_factory.mktemp("shop")
    bucket = S3Bucket(localstack, create_buckets(localstack, locked=False).home, PREFIX)
    journal = f'[journal]\nhome = "{bucket.place().name}"\nregion = "{bucket.bucket.region}"\n'
    who = (
        f'key = "file:{keyring.path("alice")}"\nidentity = "{identity("alice")}"\nallowed_signers = "allowed_signers"\n'
    )
    write(
        folder, {"dr.toml": f"{journal}{SHOP}[signing]\n{who}", "good.yaml": GOOD, "allowed_signers": keyring.allowed}
    )
    for _ in range(2):
        write(folder, {"flags.json": FLAGS})
        done = dr(folder, "run", "good.yaml", "--env", "shop", "--yes", **localstack.environment)
        assert done.status == 0, done.err
    return {key: bucket.first(key) for key in bucket.keys("")}


@pytest.fixture
def home(written: Mapping[str, bytes], localstack: LocalStack) -> Home:
    return Home(S3Bucket(localstack, create_buckets(localstack, locked=False).home, PREFIX), written)


@pytest.fixture
def verify(home: Home, localstack: LocalStack, tmp_path: Path, keyring: Keyring) -> Callable[..., Outcome]:
    """`dr audit verify` in an empty folder."""

    def verify(*what: str, signers: str = "") -> Outcome:
        write(tmp_path, {"signers": signers or keyring.allowed})
        where = {**localstack.environment, "DR_HOME": home.bucket.place().name}
        return dr(tmp_path, "audit", "verify", *(what or [home.run]), "--allowed-signers", "signers", **where)

    return verify


# By somebody who changes, removes, adds or moves objects


def flip(home: Home) -> None:
    line = home.lines()[2]
    home.bucket.replace(home.entry(2), line[:100] + bytes([line[100] ^ 1]) + line[101:] + b"\n")


def remove_two(home: Home) -> None:
    home.bucket.remove(home.entry(1), home.entry(2))


def cut_off(home: Home) -> None:
    home.bucket.remove(home.entry(3), whole_key(home.run))


def swap(home: Home) -> None:
    first, second = home.entry(1), home.entry(2)
    home.bucket.replace(first, home.written[second])
    home.bucket.replace(second, home.written[first])


def duplicate(home: Home) -> None:
    home.bucket.put(entries_key(home.run, 5), home.written[home.entry(2)])


def entry_of_another_run(home: Home) -> None:
    home.bucket.replace(home.entry(2), home.written[entries_key(home.other, 2)])


def first_entry_of_another_run(home: Home) -> None:
    home.bucket.replace(home.entry(0), home.written[entries_key(home.other, 0)])


def all_of_another_run(home: Home) -> None:
    home.rewrite(home.lines(home.other), home.marks(home.other))


def checkpoint_of_another_run(home: Home) -> None:
    theirs = home.marks(home.other)[-1]
    home.bucket.put(checkpoint_key(home.run, theirs), theirs)


def forge_on_top(home: Home) -> None:
    home.bucket.put(home.entry(2), b"forged\n")


def mark_deleted(home: Home) -> None:
    home.bucket.mark_deleted(home.entry(2))


@pytest.mark.parametrize(
    "attack, what",
    [
        (flip, "entry 3: it does not follow entry 2: that entry was changed"),
        (remove_two, "entry 1: the journal ends here"),
        (cut_off, "entry 3: the journal ends here, but the checkpoint that alice@example.org signed"),
        (swap, "entry 1: it does not follow entry 0"),
        (duplicate, "entry 5: it does not follow entry 4"),
        (entry_of_another_run, "entry 2: it does not follow entry 1"),
        (first_entry_of_another_run, "entry 0: the checkpoint that alice@example.org signed"),
        (all_of_another_run, "checkpoint 1, of alice@example.org at size 1: it is one of another run"),
        (checkpoint_of_another_run, "checkpoints.jsonl holds a checkpoint of the run {other}"),
        (forge_on_top, "entry 2: 1 later version put on top of the first version"),
        (mark_deleted, "entry 2: 1 delete marker put on top of the first version"),
    ],
)
def test_what_was_done_to_an_object_is_named(
    attack: Callable[[Home], None], what: str, home: Home, verify: Callable[..., Outcome]
) -> None:
    attack(home)
    seen = verify()
    assert seen.status == 10, seen
    assert what.format(other=home.other) in seen.err


def test_another_plan_is_seen(home: Home, verify: Callable[..., Outcome]) -> None:
    plan = plan_key(home.run)
    home.bucket.replace(plan, home.written[plan].replace(b"search", b"offers"))
    seen = verify()
    assert seen.status == 9, seen
    assert f"the stored plan of {home.run} is not the one it was started with" in seen.err


# The ledger


def line(number: int) -> str:
    return f"{LEDGER}{number:010d}.json"


def change_line(home: Home) -> None:
    home.bucket.replace(line(1), home.written[line(1)].replace(b'"who":"', b'"who":"not '))


def remove_line(home: Home) -> None:
    home.bucket.remove(line(1))


def swap_lines(home: Home) -> None:
    home.bucket.replace(line(1), home.written[line(2)])
    home.bucket.replace(line(2), home.written[line(1)])


def duplicate_line(home: Home) -> None:
    home.bucket.put(line(4), home.written[line(3)])


def cut_ledger(home: Home) -> None:
    home.bucket.remove(line(2), line(3))


def remove_run(home: Home) -> None:
    home.bucket.remove(f"runs/{home.other}/")


@pytest.mark.parametrize(
    "attack, what",
    [
        (change_line, "line 2 of the ledger: it does not follow"),
        (remove_line, "line 1 of the ledger: it does not follow"),
        (swap_lines, "line 1 of the ledger: it does not follow"),
        (duplicate_line, "line 4 of the ledger: it does not follow"),
        (cut_ledger, "the run {run} is unknown to the ledger"),
        (remove_run, "the run {other} is missing: the ledger knows that it was started at"),
    ],
)
def test_what_was_done_to_the_ledger_is_named(
    attack: Callable[[Home], None], what: str, home: Home, verify: Callable[..., Outcome]
) -> None:
    attack(home)
    seen = verify("--all")
    assert seen.status == 10, seen
    assert what.format(run=home.run, other=home.other) in seen.out


def test_a_ledger_whose_last_line_is_gone_is_incomplete(home: Home, verify: Callable[..., Outcome]) -> None:
    """As a crash may leave it, too; `dr audit sync` then says it again."""
    home.bucket.remove(line(3))
    seen = verify("--all")
    assert seen.status == 21, seen
    assert f"the end of the run {home.run} is not in the ledger" in seen.out


# By an insider who has no key that counts


def edited(home: Home) -> tuple[bytes, ...]:
    """Another person did it, and the chain is made to hold."""
    lines = home.lines()
    return rechained([*lines[:2], lines[2].replace(b"alice@", b"carol@"), *lines[3:]])


def recompute(home: Home, _: Keyring) -> None:
    home.rewrite(edited(home), home.marks())


def fit_checkpoints(home: Home, _: Keyring) -> None:
    home.rewrite(edited(home), remarked(home.marks(), edited(home)))


def sign_with_another_key(home: Home, keyring: Keyring) -> None:
    lines = edited(home)
    forged = keyring.sign(mark_of(lines, 5, run=home.run, at=decode_checkpoint(home.marks()[1]).at), "mallory")
    home.rewrite(lines, [home.marks()[0], encode_checkpoint(forged)])


@pytest.mark.parametrize(
    "attack, what",
    [
        (recompute, "entry 4: the checkpoint that alice@example.org signed at"),
        (fit_checkpoints, "checkpoint 2, of alice@example.org at size 5: its signature is not good"),
        (sign_with_another_key, "checkpoint 2, of alice@example.org at size 5: its signature is not accepted"),
    ],
)
def test_a_chain_that_was_recomputed_without_the_key_is_seen(
    attack: Callable[[Home, Keyring], None], what: str, home: Home, keyring: Keyring, verify: Callable[..., Outcome]
) -> None:
    attack(home, keyring)
    seen = verify()
    assert seen.status == 10, seen
    assert what in seen.err


def test_a_chain_that_was_recomputed_and_left_unsigned_is_incomplete(
    home: Home, verify: Callable[..., Outcome]
) -> None:
    home.rewrite(edited(home), home.marks()[:1])
    seen = verify()
    assert seen.status == 21, seen
    assert "entries 1-4: behind no signature, only behind the chain" in seen.err


@pytest.mark.parametrize(
    "name, options, why",
    [
        ("bob", "", "is not in allowed_signers"),
        ("alice", 'valid-before="20230515Z"', "had expired then"),
        ("alice", 'valid-after="29990101Z"', "was not yet valid then"),
    ],
)
def test_a_key_that_does_not_count_is_named(
    name: str, options: str, why: str, keyring: Keyring, verify: Callable[..., Outcome]
) -> None:
    seen = verify(signers=keyring.line(name, options) + "\n")
    assert seen.status == 10, seen
    assert "checkpoint 1, of alice@example.org at size 1: its signature is not accepted" in seen.err
    assert why in seen.err
