"""Addresses and connection strings as they may stand in `dr.toml`; apart from libpq.py, which loads psycopg."""

import re
from typing import Annotated

import msgspec

from dr.core.secret import is_reference

Address = Annotated[str, msgspec.Meta(pattern=r"^[^\s:'=]+:\d+$", description="HOST:PORT")]
Dsn = Annotated[str, msgspec.Meta(min_length=1, extra={"secret": "perhaps"})]

_PASSWORD_INSIDE = re.compile(r"password\s*=|://[^/@]*:[^/@]*@")


def check_dsn(field: str, dsn: str) -> None:
    """Raises ValueError: it holds a password, and is not a reference."""
    if not is_reference(dsn) and _PASSWORD_INSIDE.search(dsn):
        raise ValueError(
            f'{field}: it holds a password; put that into `password = "env:NAME"`, or the whole into "env:NAME"'
        )
