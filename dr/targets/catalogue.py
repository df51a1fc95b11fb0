"""The technologies there are, by the `type` that `dr.toml` says. Importing this loads none of their libraries."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from dr.targets import (
    ansible,
    apprise_url,
    aws,
    fence_commands,
    flagd,
    haproxy,
    http_endpoint,
    pgbouncer,
    pgbouncer_pool,
    postgresql,
    postgresql_server,
    sns,
    ssh,
    ssm_flags,
)
from dr.targets.protocols import Opening, Target, TargetConfig

_OPENERS: Final[Mapping[type[TargetConfig], Callable[[Any, Opening], Target]]] = {
    postgresql.Postgresql: postgresql.open_target,
    postgresql_server.PostgresqlServer: postgresql_server.open_target,
    flagd.FlagdFile: flagd.open_target,
    flagd.FlagdReads: flagd.open_target,
    pgbouncer.PgbouncerReads: pgbouncer.open_target,
    pgbouncer_pool.PgbouncerPool: pgbouncer_pool.open_target,
    fence_commands.FenceCommands: fence_commands.open_target,
    haproxy.HaproxyReads: haproxy.open_target,
    http_endpoint.Http: http_endpoint.open_target,
    http_endpoint.HttpApi: http_endpoint.open_target,
    aws.Aws: aws.open_target,
    ssm_flags.SsmFlags: ssm_flags.open_target,
    sns.Sns: sns.open_target,
    apprise_url.Apprise: apprise_url.open_target,
    ssh.SshGroup: ssh.open_target,
    ansible.AnsibleHosts: ansible.open_target,
}

TARGET_TYPES: Final[Mapping[str, type[TargetConfig]]] = {str(kind.__struct_config__.tag): kind for kind in _OPENERS}


def open_target(config: TargetConfig, opening: Opening) -> Target:
    """The target that `config` describes; whoever opens it closes it.

    Raises:
        TargetUnreachable: it could not be opened within the time given.
        TypeError: there is no such technology.
    """
    if type(config) not in _OPENERS:
        raise TypeError(f"{type(config).__name__} is not in the catalogue of targets")
    return _OPENERS[type(config)](config, opening)
