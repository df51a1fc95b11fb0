"""What a PostgreSQL server is asked before and while its role changes."""

from typing import Final

from dr.targets.protocols import TargetUnreachable
from dr.targets.switching import Pulse

HEARD: Final = """
    select greatest(extract(epoch from clock_timestamp() - greatest(last_msg_receipt_time, latest_end_time)), 0)::float8
      from pg_stat_wal_receiver where status = 'streaming'
"""
# The timeline by its WAL files: its control data may tell an older one, and the process that receives has ended when
# there is no primary any more.
RECEIVED: Final = """
    select (select max(('x' || left(name, 8))::bit(32)::int) from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'),
           greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'
"""
# What would be found out too late. Each row is a reason, in words.
NO_PRIMARY: Final = """
    select why from (values
      (not has_function_privilege('pg_promote(boolean, integer)', 'execute'), 'dr''s role may not call pg_promote'),
      (not (select rolsuper from pg_roles where rolname = current_user)
       and not exists (select from pg_roles where rolname = 'pg_checkpoint' and pg_has_role(oid, 'member')),
       'dr''s role may not call CHECKPOINT (grant it pg_checkpoint)'),
      (pg_is_wal_replay_paused(), 'its replay is paused'),
      (current_setting('recovery_min_apply_delay') <> '0', 'it replays with a delay (recovery_min_apply_delay)'),
      (current_setting('default_transaction_read_only') = 'on', 'default_transaction_read_only is on'),
      (current_setting('synchronous_standby_names') <> '',
       'synchronous_standby_names is set: without its own standby every commit would wait'),
      (current_setting('max_wal_senders') = '0', 'max_wal_senders is 0: the old primary could not follow it')
    ) as found (is_so, why) where is_so
"""
NO_STANDBY: Final = """
    select why from (values
      (not (select rolsuper from pg_roles where rolname = current_user)
       and not (current_setting('server_version_num')::int >= 150000
                and has_parameter_privilege('primary_conninfo', 'alter system')),
       'dr''s role may not set primary_conninfo (grant alter system on parameter primary_conninfo)'),
      (not has_function_privilege('pg_reload_conf()', 'execute'), 'dr''s role may not call pg_reload_conf'),
      (current_setting('hot_standby') = 'off', 'hot_standby is off: as a standby it could not be asked'),
      (exists (select from pg_replication_slots where slot_type = 'logical'),
       'it has logical replication slots, which would be left behind')
    ) as found (is_so, why) where is_so
"""
ROOM: Final = """
    select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - (select count(*)::int from pg_stat_activity where backend_type = 'client backend')
"""
BACKENDS: Final = """
    select pid from pg_stat_activity where backend_type = 'client backend' and application_name = any (%s::text[])
"""
OTHERS: Final = """
    select format('%%s of %%s on %%s (pid %%s)',
                  coalesce(nullif(application_name, ''), 'unnamed'), usename, datname, pid)
      from pg_stat_activity
     where backend_type = 'client backend' and pid <> pg_backend_pid() and not starts_with(application_name, 'dr:')
       and pid <> all (%s::int[]) and application_name <> all (%s::text[])
     order by pid limit 20
"""
OLDEST: Final = """
    select coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0)::float8 from pg_stat_activity
     where backend_type = 'client backend' and pid <> pg_backend_pid()
"""
STREAMS: Final = """
    select pg_is_in_recovery() and exists (select from pg_stat_wal_receiver where status = 'streaming')
"""
# A primary's timeline stands in the name of its WAL file, a standby's where it receives; a checkpoint's is an older
# one.
ORIGIN: Final = """
    select (select system_identifier::text from pg_control_system()),
           case when pg_is_in_recovery()
                then coalesce((select received_tli from pg_stat_wal_receiver),
                              (select timeline_id from pg_control_checkpoint()))
                else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end
"""
POSITION: Final = """
    select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end) - '0/0'
"""
# A standby that has asked all its sources for WAL in vain sleeps in this wait until it asks them again. Where they take
# longer to answer than it would sleep, it does not sleep at all.
REPLAY: Final = """
    select case when not pg_is_in_recovery() then 'writable'
                when pg_is_wal_replay_paused() then 'held'
                when exists (select from pg_stat_activity
                              where backend_type = 'startup' and wait_event = 'RecoveryRetrieveRetryInterval')
                then 'exhausted' else 'replaying' end,
           coalesce(to_char(pg_last_xact_replay_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), ''),
           (select setting::float8 / 1000 from pg_settings where name = 'wal_retrieve_retry_interval')
"""
HAS_TARGET: Final = "select current_setting('recovery_target_time') <> ''"
MAY_FORGET_TARGET: Final = "select has_parameter_privilege('recovery_target_time', 'alter system')"
FORGET_TARGET: Final = "alter system reset recovery_target_time"
_SIGNS: Final[dict[str, Pulse]] = {
    "too many clients": "overloaded",
    "too many connections": "overloaded",
    "remaining connection slots": "overloaded",
    "starting up": "starting",
    "shutting down": "starting",
    "not yet accepting": "starting",
    "not accepting connections": "starting",
    "in recovery mode": "starting",
    "Connection refused": "refuses",
}
"""Before a session there is no SQLSTATE to be had. A server that speaks another language counts as silent."""


def seconds_in(value: object, server: str) -> float:
    """What a query for seconds has given. Raises LookupError: that is no number."""
    if isinstance(value, int | float):
        return float(value)
    raise LookupError(f"{server}: the query gives {value!r}, not a number of seconds")


def pulse_of(error: TargetUnreachable) -> Pulse:
    """What an error of connecting says about the server."""
    return next((pulse for words, pulse in _SIGNS.items() if words in str(error)), "silent")
