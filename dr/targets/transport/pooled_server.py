"""Database servers as what leads clients to them knows them."""

import msgspec

from dr.targets.switching import ServerName
from dr.targets.transport.dsn import Address


class PooledServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server behind the pool."""

    server: ServerName
    at: Address
