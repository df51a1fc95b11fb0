"""The technologies there are, by the `type` that `dr.toml` says. Importing this loads none of their libraries."""

from collections.abc import Mapping
from typing import Final

from dr.targets import flagd, http_endpoint, pgbouncer, pgbouncer_pool, postgresql, postgresql_server
from dr.targets.protocols import Opening, Target, TargetConfig

TARGET_TYPES: Final[Mapping[str, type[TargetConfig]]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        postgresql.Postgresql,
        postgresql_server.PostgresqlServer,
        flagd.FlagdFile,
        flagd.FlagdReads,
        pgbouncer.PgbouncerReads,
        pgbouncer_pool.PgbouncerPool,
        http_endpoint.Http,
    )
}


def open_target(config: TargetConfig, opening: Opening) -> Target:
    """The target that `config` describes; whoever opens it closes it.

    Raises:
        TargetUnreachable: it could not be opened within the time given.
    """
    match config:
        case postgresql.Postgresql():
            return postgresql.open_target(config, opening)
        case postgresql_server.PostgresqlServer():
            return postgresql_server.open_target(config, opening)
        case flagd.FlagdFile() | flagd.FlagdReads():
            return flagd.open_target(config, opening)
        case pgbouncer.PgbouncerReads():
            return pgbouncer.open_target(config, opening)
        case pgbouncer_pool.PgbouncerPool():
            return pgbouncer_pool.open_target(config, opening)
        case http_endpoint.Http():
            return http_endpoint.open_target(config, opening)
        case _:
            raise TypeError(f"{type(config).__name__} is not in the catalogue of targets")
