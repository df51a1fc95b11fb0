"""The ledger of a home, written by many."""

import threading

import pytest

from dr.audit import ledger
from dr.audit.chain import Head
from dr.audit.store import StoreUnreachable
from tests.memory_store import Bucket


def line(run: str, head: Head) -> ledger.Line:
    return ledger.Line(
        prev=head.hash, seq=head.size, run=run, what="started", at="2023-05-15T14:00:00.000000Z", who="h"
    )


def test_lines_that_many_write_at_once_are_one_chain(home: Bucket) -> None:
    threads = [
        threading.Thread(target=lambda run=f"r{at}": ledger.write(home.store(), lambda head: line(run, head)))
        for at in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines, wrong = ledger.read(home.store())
    assert wrong == ""
    assert sorted(found.run for found in lines) == sorted(f"r{at}" for at in range(12))
    assert [found.seq for found in lines] == list(range(12))


def test_who_is_always_too_late_gives_up(home: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "TRIES", 3)

    def too_late(head: Head) -> ledger.Line:
        ledger.write(home.store(), lambda other: line("faster", other))
        return line("late", head)

    with pytest.raises(StoreUnreachable, match="3 other lines were written to the ledger meanwhile"):
        ledger.write(home.store(), too_late)
    assert {found.run for found in ledger.read(home.store())[0]} == {"faster"}


def test_a_ledger_nobody_has_written_is_empty(home: Bucket) -> None:
    assert ledger.read(home.store()) == ((), "")
