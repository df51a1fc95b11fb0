"""The technologies there are, by the `type` that `dr.toml` says. Importing this loads none of their libraries."""

from collections.abc import Mapping
from typing import Final

from dr.targets import apprise_url, aws, flagd, http_endpoint, pgbouncer, postgresql, sns, ssm_flags
from dr.targets.protocols import Opening, Target, TargetConfig

TARGET_TYPES: Final[Mapping[str, type[TargetConfig]]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        postgresql.Postgresql,
        flagd.FlagdFile,
        flagd.FlagdReads,
        pgbouncer.PgbouncerReads,
        http_endpoint.Http,
        http_endpoint.HttpApi,
        aws.Aws,
        ssm_flags.SsmFlags,
        sns.Sns,
        apprise_url.Apprise,
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
        case flagd.FlagdFile() | flagd.FlagdReads():
            return flagd.open_target(config, opening)
        case pgbouncer.PgbouncerReads():
            return pgbouncer.open_target(config, opening)
        case http_endpoint.Http() | http_endpoint.HttpApi():
            return http_endpoint.open_target(config, opening)
        case aws.Aws():
            return aws.open_target(config, opening)
        case ssm_flags.SsmFlags():
            return ssm_flags.open_target(config, opening)
        case sns.Sns():
            return sns.open_target(config, opening)
        case apprise_url.Apprise():
            return apprise_url.open_target(config, opening)
        case _:
            raise TypeError(f"{type(config).__name__} is not in the catalogue of targets")
