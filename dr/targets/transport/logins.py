"""Who may log in to a PostgreSQL server, and who has: how it is kept from taking writes by SQL alone.

What is changed is in the WAL, so a standby that streams gets it, too. Each role therefore carries a mark of what was
done to it, written in the same transaction; a server that is promoted lets all that carry one in again.
"""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

Rows = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
Command = Callable[[str], None]

POLL: Final = 0.01
REST: Final = 2.0
"""Seconds in which logins that are under way, and standbys that stream, are waited for; some never come to an end."""

_STRANGERS: Final = """
    with kept as (select oid from pg_roles where rolname = any (%s::text[])),
         strangers as (select pid, usename from pg_stat_activity
                        where pid <> pg_backend_pid() and datid is not null and usesysid not in (select oid from kept)
                          and not (usename = session_user and starts_with(application_name, 'dr:')))
"""
_WITH_A_SESSION: Final = f"""
    {_STRANGERS}
    select format('%%s may log in', rolname) from pg_roles
     where rolcanlogin and rolname <> session_user and oid not in (select oid from kept)
    union all select format('a session of %%s (pid %%s)', usename, pid) from strangers
     order by 1 limit 20
"""  # noqa: S608 - put together from constants
# A login reads its role before it shows as a session of a database, but in a transaction, whose id is locked.
_LOGGING_IN: Final = """
    select pid, virtualxid from pg_locks left join pg_stat_activity as seen using (pid)
     where locktype = 'virtualxid' and mode = 'ExclusiveLock' and pid <> pg_backend_pid()
       and (seen.pid is null or (seen.backend_type = 'client backend' and seen.datid is null))
"""
_TERMINATE: Final = f"""
    {_STRANGERS}, logins as ({_LOGGING_IN})
    select pg_terminate_backend(pid) from (select pid from strangers union select pid from logins) as all_of_them
"""  # noqa: S608 - the same
_MARK: Final = "dr.login"
_LOCK: Final = f"""
    select coalesce(string_agg(
             format('alter role %%1$I set {_MARK} = ''kept out''; alter role %%1$I nologin;', rolname), ' '), '')
      from pg_roles where rolcanlogin and rolname <> session_user and rolname <> all (%s::text[])
"""  # noqa: S608 - the same
_UNLOCK: Final = f"""
    select coalesce(string_agg(format('alter role %1$I login; alter role %1$I reset {_MARK};', rolname), ' '), '')
      from pg_roles join pg_db_role_setting on setrole = pg_roles.oid and setdatabase = 0
     where exists (select from unnest(setconfig) as setting where starts_with(setting, '{_MARK}='))
"""  # noqa: S608 - the same
_WRITTEN: Final = "select pg_current_wal_flush_lsn()::text"
_ARRIVED: Final = """
    select coalesce(bool_and(flush_lsn >= %s::pg_lsn), true) from pg_stat_replication where state = 'streaming'
"""


def still_in(rows: Rows, keep: Collection[str]) -> tuple[str, ...]:
    """Who but these roles and dr's own may log in or has a session, in words. A physical standby is nobody.

    A session of dr's own role that is not dr's counts: where an application uses that role, this is no fence.
    A login that is under way may have read its role before that was changed, so those of this moment are seen to their
    end; later ones are not, or there would be no end where clients try again all the time.
    """
    if found := _words(rows, keep):
        return found
    logins = {tuple(login) for login in rows(_LOGGING_IN, ())}
    end = time.monotonic() + REST
    while logins and time.monotonic() < end:
        time.sleep(POLL)
        logins &= {tuple(login) for login in rows(_LOGGING_IN, ())}
    return (*_words(rows, keep), *(f"somebody who is logging in (pid {pid})" for pid, _ in logins))


def _words(rows: Rows, keep: Collection[str]) -> tuple[str, ...]:
    return tuple(str(words) for (words,) in rows(_WITH_A_SESSION, [list(keep)]))


def keep_out(rows: Rows, command: Command, keep: Collection[str]) -> None:
    """Let no role but these and dr's own log in from now on, tell the others' sessions to end, send what they wrote.

    Without a wait for standbys at its commit: they may be gone, which is why somebody is kept out.
    """
    [(text,)] = rows(_LOCK, [list(keep)])
    if text:
        command(f"begin read write; set local synchronous_commit = local; {text} commit")
    rows(_TERMINATE, [list(keep)])
    [(written,)] = rows(_WRITTEN, ())
    end = time.monotonic() + REST
    while rows(_ARRIVED, [written]) != [(True,)] and time.monotonic() < end:
        time.sleep(POLL)


def let_in(rows: Rows, command: Command) -> None:
    """Let those log in again that `keep_out` has kept out, here or where this server's data come from."""
    [(text,)] = rows(_UNLOCK, ())
    if text:
        command(f"begin; {text} commit")
