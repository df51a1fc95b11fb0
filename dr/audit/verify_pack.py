"""Verify an evidence pack of a recovery run, without the program that made it and without a network.

    python3 -I verify.py --allowed-signers FILE [--entries] [FOLDER]

Needs Python 3.8 or newer and, for the signatures, OpenSSH's ssh-keygen (8.7 or newer). FOLDER is the unpacked pack, by
default the one this file lies in. FILE says whose signatures count. Without it, or with the list that lies in the pack,
the answer is never 0: whoever made the pack wrote that list, too, and may have taken all signatures out of it.

Exit status: 0 well, 1 tampered, 2 incomplete, 3 unverifiable (nobody but the pack says whose signatures count, there
is no ssh-keygen, or a file is too large), 4 the command line is wrong. Written apart from `dr audit verify`; tests hold
the two together.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

WELL, TAMPERED, INCOMPLETE, UNVERIFIABLE, USAGE = range(5)
FILES = ("plan.json", "journal.jsonl", "checkpoints.jsonl", "allowed_signers")
LARGEST = 1 << 30
"""Bytes of a file: about three million entries. A pack must not be able to fill the memory of who verifies it."""
LONGEST = 1 << 16
"""Bytes of a checkpoint; what stands in it becomes arguments of ssh-keygen."""
MOST = 10_000
"""Checkpoints: each starts ssh-keygen twice."""
DIGITS = 18
"""Of a number that is read as an int."""
NAMESPACE = "dr-checkpoint@dr-runbooks"
BEGINNING = re.compile(rb'\{"prev":"([0-9a-f]{64})","seq":(0|[1-9][0-9]{0,17}),')
TEXT = rb'"((?:[^"\\\x00-\x1f]|\\.)*)"'
CHECKPOINT = re.compile(
    rb'(\{"run":%s,"size":([0-9]{1,18}),"head":"([0-9a-f]{64})","at":%s,"actor":%s)(?:,"signature":%s|,"unsigned":%s)?\}'
    % (TEXT, TEXT, TEXT, TEXT, TEXT)
)
RUN = re.compile(r"[0-9]{8}T[0-9]{6}(?:\.[0-9]{3})?Z-.+")
TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.[0-9]{6}Z")


class Wrong(Exception):
    """Something does not hold; the text names it."""


class Unjudged(Exception):
    """This program cannot say whether it holds, and why."""


class Entry(NamedTuple):
    """What is judged of an entry."""

    run: str
    at: str
    actor: str
    kind: str
    plan: Any
    """Of the first one."""
    signer: Any
    """Where a process begins."""


class Signed(NamedTuple):
    """A checkpoint with a good signature: the entries below `size` are behind it."""

    size: int
    key: str
    actor: str
    at: str


def finished(journal: bytes) -> bytes:
    """The journal without what a crash has left unfinished at its end.

    After a power cut that is also a line in which bytes are missing (zeros stand in their place), with what was written
    together with it. A line behind it that was written later shows that the bytes were there once.
    """
    whole = journal[: journal.rfind(b"\n") + 1]
    if b"\0" not in whole:
        return whole
    begin = whole.rfind(b"\n", 0, whole.index(b"\0")) + 1
    hole = whole.count(b"\n", 0, begin)
    for line in lines_of(whole[begin:]):
        together = re.match(rb'\{"prev":"[0-9a-f]{64}","seq":[0-9]+,"first":([0-9]{1,18}),', line)
        if b"\0" not in line and not (together and int(together[1]) <= hole):
            return whole
    return whole[:begin]


def entries_of(journal: bytes) -> tuple[list[Entry], list[str]]:
    """The entries, and the head of the chain before each of them and after the last."""
    entries: list[Entry] = []
    heads = ["0" * 64]
    for seq, line in enumerate(lines_of(journal)):
        begins = BEGINNING.match(line)
        if not begins:
            raise Wrong(f"entry {seq}: it is not an entry")
        if begins[1].decode() != heads[seq]:
            raise Wrong(
                f"entry {seq}: it does not follow entry {seq - 1}: that entry was changed, or one between them was "
                "removed, added or moved"
                if seq
                else "entry 0: it is not the first entry of a journal: what was before it is missing"
            )
        if int(begins[2]) != seq:
            raise Wrong(f"entry {seq}: its number is not the next one")
        told = parsed(line, f"entry {seq}")
        event = told["event"]
        run, actor, kind = (sys.intern(name) for name in (told["run"], told["actor"], event["type"]))
        entries.append(Entry(run, told["at"], actor, kind, event.get("plan"), event.get("signer")))
        if entries[-1].run != entries[0].run:
            raise Wrong(f"entry {seq}: it belongs to another run")
        heads.append(hashlib.sha256(line).hexdigest())
    return entries, heads


def lines_of(file: bytes) -> Iterator[bytes]:
    """The lines that are whole, one by one: there may be millions."""
    return (line[:-1] for line in io.BytesIO(file) if line.endswith(b"\n"))


def parsed(line: bytes, name: str) -> dict[str, Any]:
    """The JSON object of a line, in which no name stands twice: it must say the same to every reader."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands in it twice")
        return found

    def none(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    def number(digits: str) -> float:
        """An int of millions of digits would take an old Python for ever."""
        return int(digits) if len(digits) <= DIGITS else float(digits)

    try:
        value: dict[str, Any] = json.loads(
            line.decode("utf-8"), object_pairs_hook=once, parse_int=number, parse_constant=none
        )
        "".join((value["run"], value["at"], value["actor"], value["event"]["type"])).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Wrong(f"{name}: it cannot be read") from None
    return value


def ssh_keygen(action: str, message: bytes, *options: str) -> tuple[bool, str]:
    """Whether `ssh-keygen -Y ACTION` is content, and what it says. Times in allowed_signers without a zone are UTC."""
    try:
        done = subprocess.run(
            ["ssh-keygen", "-Y", action, "-n", NAMESPACE, *options],
            input=message,
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise Unjudged("ssh-keygen is not here: only the chain was verified, not the signatures") from None
    return done.returncode == 0, " ".join((done.stdout + done.stderr).decode("utf-8", "replace").split())


def signer_of(message: bytes, signature: str, actor: str, at: str, allowed: Path | None) -> str:
    """The fingerprint of the key that has signed; `allowed`, if any, says that it may."""
    time = TIME.fullmatch(at)
    if not time:
        raise Wrong(f"its time cannot be read: {at}")
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "signature"
        file.write_text(signature, encoding="utf-8")
        good, said = ssh_keygen("check-novalidate", message, "-s", str(file))
        if not good:
            raise Wrong(f"its signature is not good: {said}")
        key = re.search(r"SHA256:[A-Za-z0-9+/]+", said)
        if allowed is not None:
            when = "verify-time=" + "".join(time.groups())
            good, said = ssh_keygen("verify", message, "-s", str(file), "-f", str(allowed), "-I", actor, "-O", when)
            if not good:
                raise Wrong(f"its signature, made with {key and key[0]}, is not accepted for {actor}: {said}")
    return key[0] if key else "?"


def signed_by(line: bytes, run: str, heads: list[str], allowed: Path | None) -> Signed | None:
    """Who has signed the checkpoint of that line; None: nobody. Raises Wrong, ValueError."""
    found = CHECKPOINT.fullmatch(line) if len(line) <= LONGEST else None
    if not found:
        raise Wrong("it cannot be read")
    size, head, signature = int(found[3]), found[4].decode(), found[7]
    of_run, at, actor = (json.loads(b'"%s"' % found[group]) for group in (2, 5, 6))
    if of_run != run:
        raise Wrong(f"it is one of another run ({of_run})")
    if size >= len(heads):
        raise Wrong(f"it knows {size} entries, but the journal ends after {len(heads) - 1}: the tail was cut off")
    if heads[size] != head:
        raise Wrong(f"it holds another hash of entry {size - 1}: this entry or one before it was changed")
    if not signature:
        return None
    return Signed(size, signer_of(found[1] + b"}", json.loads(b'"%s"' % signature), actor, at, allowed), actor, at)


def signatures(marks: bytes, run: str, heads: list[str], allowed: Path | None) -> tuple[list[Signed], list[str]]:
    """The checkpoints with a good signature, by size; and what is wrong with the others."""
    signed, wrong = [], []
    if marks.count(b"\n") > MOST:
        raise Unjudged(f"checkpoints.jsonl: it holds more than {MOST} checkpoints")
    lines = list(lines_of(marks))
    if lines and b"\0" in lines[-1]:  # unfinished, as the last line of a journal
        del lines[-1]
    for number, line in enumerate(lines, 1):
        try:
            mark = signed_by(line, run, heads, allowed)
            signed += [mark] if mark else []
        except (Wrong, ValueError) as error:
            wrong.append(f"checkpoint {number}: {error}")
    return sorted(signed, key=lambda mark: mark.size), wrong


def missing(entries: list[Entry], signed: list[Signed]) -> Iterator[str]:
    """What is behind no signature, the signatures that must have been there before a first effect, and the end."""
    covered = max([mark.size for mark in signed], default=0)
    if covered < len(entries):
        yield f"{span(covered, len(entries))}: behind no signature, only behind the chain"
    kinds = [entry.kind for entry in entries]
    starts = [seq for seq, kind in enumerate(kinds) if kind in ("run-started", "run-resumed")]
    for start, end in zip(starts, [*starts[1:], len(entries)]):
        signer = entries[start].signer
        first = next((seq for seq in range(start, end) if kinds[seq] in ("apply-started", "undo-started")), None)
        if not signer or first is None or any(mark.key == signer and start < mark.size <= first for mark in signed):
            continue
        who = entries[start].actor
        yield f"entry {start}: {who} began there and signed before the first effect; the signature is missing"
    if kinds[-1] != "run-ended":
        yield "the run has not ended: it was stopped or killed there, or what came after was cut off"


def in_other_names(entries: list[Entry], signed: list[Signed]) -> Iterator[str]:
    """Entries in the name of somebody who has not signed them: after a kill -9, or because others wrote them."""
    own = {mark.actor: mark.size for mark in signed}
    first = 0
    for end in range(1, len(entries) + 1):
        actor = entries[first].actor
        if end < len(entries) and entries[end].actor == actor:
            continue
        begin, last = max(first, own.get(actor, 0)), min(end, max(own.values(), default=0))
        if begin < last:
            yield f"{span(begin, last)}: in the name of {actor}, who has not signed them; others have"
        first = end


def out_of_time(entries: list[Entry], signed: list[Signed]) -> Iterator[str]:
    """Times that go back: a clock did, or somebody wrote another time, as whoever signs with an expired key must."""
    why = "a clock went back, or one of the two was not written then"
    for seq in range(1, len(entries)):
        if entries[seq].at < entries[seq - 1].at:
            yield f"entry {seq}: its time is before that of entry {seq - 1}: {why}"
    for mark in signed:
        if mark.size and mark.at < entries[mark.size - 1].at:
            yield f"entry {mark.size - 1}: signed by {mark.actor} for a time before its own: {why}"


def span(first: int, end: int) -> str:
    """The entries from `first` to the one before `end`, in words."""
    return f"entry {first}" if end == first + 1 else f"entries {first}-{end - 1}"


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of the pack that are judged. Raises Wrong, Unjudged."""
    found = {}
    for name in FILES:
        path = folder / name
        if path.is_symlink():  # what it leads to is no part of the pack, and may be another thing tomorrow
            raise Wrong(f"{name}: it is a link, and a pack holds none")
        if path.is_file():
            with path.open("rb") as file:
                found[name] = file.read(LARGEST + 1)
            if len(found[name]) > LARGEST:
                raise Unjudged(f"{name}: it is larger than {LARGEST} bytes")
    return found


def judge(folder: Path, trusted: Path | None, show: bool) -> int:
    """Verify the pack, say what was found, and return the exit status. `trusted`: the list of signers from outside."""
    try:
        there = files_of(folder)
        absent = [f"{name}: it is missing" for name in FILES[:2] if name not in there]
        if absent:
            return verdict(INCOMPLETE, absent)
        return compare(folder, there, trusted, show)
    except Wrong as error:
        return verdict(TAMPERED, [str(error)])
    except Unjudged as error:
        return verdict(UNVERIFIABLE, [str(error)])
    except OSError as error:
        return verdict(UNVERIFIABLE, [f"the system refused: {error}"])


def compare(folder: Path, there: dict[str, bytes], trusted: Path | None, show: bool) -> int:
    """Hold the files of the pack against each other. Raises Wrong, Unjudged, OSError."""
    journal, marks = finished(there["journal.jsonl"]), there.get("checkpoints.jsonl", b"")
    entries, heads = entries_of(journal)
    if not entries:
        why = ", but there are checkpoints: all of it was cut off" if marks else ""
        return verdict(TAMPERED if marks else INCOMPLETE, [f"journal.jsonl: it holds no entry{why}"])
    check_names(folder, there["plan.json"], entries[0])
    say(f"{entries[0].run}: {len(entries)} entries, head {heads[-1]}")
    if journal != there["journal.jsonl"]:
        say("an unfinished entry stands at the end, as a crash leaves it; nothing was done for it")
    allowed = trusted or (folder / "allowed_signers" if "allowed_signers" in there else None)
    signed, wrong = signatures(marks, entries[0].run, heads, allowed)
    if wrong:
        return verdict(TAMPERED, wrong)
    if show:
        tell_entries(journal)
    tell(signed, "signed" if trusted else "said to be signed")
    for note in (*in_other_names(entries, signed), *out_of_time(entries, signed)):
        say(note)
    return weigh(entries, signed, allowed, trusted)


def check_names(folder: Path, plan: bytes, first: Entry) -> None:
    """The plan must be the one that the first entry names, and a folder that is called after a run must hold it."""
    if hashlib.sha256(plan).hexdigest() != first.plan:
        raise Wrong("plan.json: it is not the plan that entry 0 names")
    name = folder.resolve().name
    if RUN.fullmatch(name) and name != first.run:
        raise Wrong(f"the folder is called after another run than it holds: {first.run}")


def tell_entries(journal: bytes) -> None:
    """Say what each entry says: when, by whom, what."""
    for seq, line in enumerate(lines_of(journal)):
        entry = parsed(line, f"entry {seq}")
        event = entry["event"]
        say(f"{seq:6}  {entry['at']}  {entry['actor']}  {event.pop('type')}  {json.dumps(event)}")


def tell(signed: list[Signed], word: str) -> None:
    """Say which entries are behind whose signature."""
    done = 0
    for mark in signed:
        what = span(done, mark.size) if mark.size > done else "the same"
        say(f"{what}: {word} by {mark.actor} at {mark.at} ({mark.key})")
        done = mark.size


def weigh(entries: list[Entry], signed: list[Signed], allowed: Path | None, trusted: Path | None) -> int:
    """Nothing was found changed: is everything there that should be, and who says so?"""
    if not (allowed or signed or any(entry.signer for entry in entries)):
        return verdict(UNVERIFIABLE, ["UNSIGNED: whoever could write these files could have written all of them anew"])
    gaps = list(missing(entries, signed))
    if gaps:
        return verdict(INCOMPLETE, gaps)
    if trusted:
        return verdict(WELL, ["every entry is behind the chain and behind a signature"])
    by = "the pack alone says" if allowed else "nobody has said"
    return verdict(UNVERIFIABLE, [f"{by} whose signatures count; give the list you trust: --allowed-signers FILE"])


def verdict(status: int, findings: list[str]) -> int:
    """Say what was found."""
    for finding in findings:
        say(f"{('WELL', 'TAMPERED', 'INCOMPLETE', 'UNVERIFIABLE')[status]}: {finding}")
    return status


def say(text: str) -> None:
    """A line. What stands in a journal must not steer the terminal."""
    print("".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text))


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description="Verify an evidence pack: 0 well, 1 tampered, 2 incomplete, 3 unverifiable."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent, metavar="FOLDER")
    parser.add_argument(
        "--allowed-signers", type=Path, metavar="FILE", help="whose signatures count; without it never 0"
    )
    parser.add_argument("--entries", action="store_true", help="also say what each entry says")
    try:
        given = parser.parse_args(arguments)
        if given.allowed_signers and not given.allowed_signers.is_file():
            parser.error(f"there is no file {given.allowed_signers}")
    except SystemExit as leave:
        return USAGE if leave.code else WELL
    own, trusted = given.folder / "allowed_signers", given.allowed_signers
    if trusted and own.is_file() and own.samefile(trusted):
        trusted = None
    others = sorted(path.name for path in given.folder.glob("*") if path.name not in FILES)
    say(f"not judged: {', '.join(others[:8])}{' and more' if others[8:] else ''}")
    return judge(given.folder, trusted, given.entries)


if __name__ == "__main__":
    sys.exit(main())
