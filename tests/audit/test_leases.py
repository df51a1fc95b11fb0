"""When a run no longer keeps its environment, as its own lines tell."""

from pathlib import Path

from dr.audit.book import LocalBook
from dr.audit.journal import Draft
from dr.audit.leases import is_over, is_over_here
from dr.core import events as e
from tests.audit.homes import PLAN, write
from tests.audit.written import ME, RUN, drafts


def test_of_a_run_that_cannot_be_read_nobody_knows_whether_it_has_ended(tmp_path: Path) -> None:
    local = LocalBook(tmp_path)
    journal = local.create(RUN, PLAN, ME)
    write(journal, drafts())
    journal.close()
    stored = local.stored(RUN)
    assert is_over_here(stored)
    with (stored.directory / "journal.jsonl").open("ab") as file:
        file.write(b"{}\n")
    assert not is_over_here(stored)


def test_a_run_that_was_shut_out_before_it_began_is_over(tmp_path: Path) -> None:
    journal = LocalBook(tmp_path).create(RUN, PLAN, ME)
    [entry] = journal.append([Draft(drafts()[0].at, "dr", e.TakenOver(holder="a process"))])
    assert is_over((e.encode_entry(entry),))
