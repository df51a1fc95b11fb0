"""The technologies there are, by the `type` that `dr.toml` says. Importing this loads none of them."""

import sys
from typing import Final

from dr.core.catalogue import Catalogue
from dr.targets.protocols import Opening, Target, TargetConfig

TARGET_TYPES: Final[Catalogue[TargetConfig]] = Catalogue(
    "dr.targets",
    {
        "postgresql": "postgresql:Postgresql",
        "postgresql-server": "postgresql_server:PostgresqlServer",
        "flagd-file": "flagd:FlagdFile",
        "flagd-reads": "flagd:FlagdReads",
        "flagd-traffic": "flagd:FlagdTraffic",
        "pgbouncer-reads": "pgbouncer:PgbouncerReads",
        "pgbouncer-pool": "pgbouncer_pool:PgbouncerPool",
        "fence-commands": "fence_commands:FenceCommands",
        "fence-playbook": "fence_playbook:FencePlaybook",
        "fence-roles": "fence_roles:FenceRoles",
        "fence-proxies": "fence_proxies:FenceProxies",
        "multi-host": "multi_host:MultiHost",
        "haproxy-pool": "haproxy_pool:HaproxyPool",
        "patroni": "patroni:Patroni",
        "haproxy-reads": "haproxy:HaproxyReads",
        "haproxy-traffic": "haproxy:HaproxyTraffic",
        "route53-traffic": "route53:Route53Traffic",
        "http": "http_endpoint:Http",
        "http-api": "http_endpoint:HttpApi",
        "aws": "aws:Aws",
        "ssm-flags": "ssm_flags:SsmFlags",
        "appconfig-flags": "appconfig_flags:AppConfigFlags",
        "unleash": "unleash:Unleash",
        "sns": "sns:Sns",
        "apprise": "apprise_url:Apprise",
        "ssh": "ssh:SshGroup",
        "ansible": "ansible:AnsibleHosts",
    },
)


def types_for(protocol: str) -> str:
    """The types in `dr.toml` whose targets speak that Protocol, in words."""
    return " or ".join(name for name, config in TARGET_TYPES.items() if protocol in config.speaks)


def open_target(config: TargetConfig, opening: Opening) -> Target:
    """The target that `config` describes; whoever opens it closes it.

    Raises:
        TargetUnreachable: it could not be opened within the time given.
        TypeError: there is no such technology.
    """
    if TARGET_TYPES.get(str(config.__struct_config__.tag)) is not type(config):
        raise TypeError(f"{type(config).__name__} is not in the catalogue of targets")
    target: Target = sys.modules[type(config).__module__].open_target(config, opening)
    return target
