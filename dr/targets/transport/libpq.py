"""A client of PostgreSQL, or of what speaks its protocol, that never outlasts its deadline.

psycopg bounds no call by itself: a frozen server (SIGSTOP, a stalled disk, a silent firewall) would hold it for as long
as the kernel keeps the TCP connection. The server's own statement_timeout does not run while it is frozen.
"""

import math
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

import psycopg
from msgspec.structs import replace
from psycopg import conninfo
from psycopg.abc import RV, PQGen
from psycopg.rows import TupleRow, dict_row

from dr.core.secret import is_reference
from dr.targets.protocols import Opening, Overloaded, TargetUnreachable
from dr.targets.transport.deadline import within

WAKE: Final = 0.1
"""Seconds between two looks at the deadline while nothing arrives."""
MOST_TEXT: Final = 65_536
"""Characters kept of a value (safety rule 15)."""
_FULL: Final = re.compile(r"too many clients|too many connections|connection slots are reserved")
"""libpq hands on no SQLSTATE (53300) for a connection that was refused, and a server may speak another language than
English: then it is merely unreachable."""


class Client:
    """One autocommit connection. Threads may share it; their calls take turns."""

    def __init__(self, name: str, connection: "_Connection") -> None:
        self._name = name
        self._connection = connection
        self._turn = threading.Lock()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[TupleRow]:
        """All rows of a query of dr's own.

        Raises:
            TargetUnreachable: no answer by the deadline, or the server refuses.
        """
        with self._calling():
            return self._connection.execute(query.encode(), values or None).fetchall()

    def records(self, query: str) -> list[dict[str, Any]]:
        """All rows, by the names of their columns. Raises TargetUnreachable, as `rows` does."""
        with self._calling(), self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode()).fetchall()

    def command(self, text: str) -> None:
        """A command that answers no rows. Raises TargetUnreachable, as `rows` does."""
        with self._calling():
            self._connection.execute(text.encode())

    def first(self, query: str) -> object:
        """First column of the first row of somebody else's query, as a JSON value; None when there is no row.

        It runs in a READ ONLY transaction, and as one statement only: it is sent by the extended protocol, by which
        nothing can follow a semicolon. A result of any size is read no further than its second row.

        Raises:
            LookupError: the server refuses the query.
            TargetUnreachable: no answer by the deadline.
        """
        with self._calling():
            self._connection.execute("begin transaction read only")
            try:
                with self._connection.cursor() as cursor:
                    found = list(islice(cursor.stream(query.encode()), 2))
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                raise LookupError(f"{self._name} refuses the query: {_one_line(error)}") from None
            finally:
                with suppress(psycopg.Error, TimeoutError):
                    self._connection.execute("rollback")
        return _json(found[0][0]) if found else None

    def keep_within(self, seconds: float) -> None:
        """From now on the deadline is that many seconds from now."""
        self._connection.deadline = time.monotonic() + seconds

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._connection.close()

    @contextmanager
    def _calling(self) -> Iterator[None]:
        with _reachable(self._name):
            if not self._turn.acquire(timeout=max(0.0, self._connection.deadline - time.monotonic())):
                raise TimeoutError
            try:
                yield
            finally:
                self._turn.release()


def connect(opening: Opening, parameters: dict[str, Any], *, simple: bool = False) -> Client:
    """Connect within the opening's deadline. `simple` is for what knows the simple query protocol only.

    Raises:
        TargetUnreachable: Overloaded, if the server says that it has no connection left.
    """
    deadline = time.monotonic() + opening.timeout
    cursor: type[psycopg.Cursor[TupleRow]] = psycopg.ClientCursor if simple else psycopg.Cursor
    late = max(2, math.ceil(opening.timeout))  # so that a thread left behind by `within` ends, too
    given = {**parameters, "application_name": opening.label, "connect_timeout": late}

    def call() -> _Connection:
        return _Connection.connect(**given, autocommit=True, prepare_threshold=None, cursor_factory=cursor)

    with _reachable(opening.name):
        connection = within(opening.timeout, call, discard=_Connection.close)
    connection.deadline = deadline
    return Client(opening.name, connection)


def login(opening: Opening, dsn: str, password: str | None, *, at: str = "", patience: float | None = None) -> Client:
    """Connect to a PostgreSQL server as `dr.toml` says; both may be references. Raises TargetUnreachable.

    Args:
        opening: whose time is what a statement may take.
        dsn: the connection string.
        password: if it is not in there.
        at: a HOST:PORT in place of what the connection string says.
        patience: seconds for the connection and each answer, if they are not to have all of that time.
    """
    parameters = parameters_of(opening, opening.secret(dsn) if is_reference(dsn) else dsn)
    if at:
        parameters["host"], parameters["port"] = at.rsplit(":", 1)
    if password is not None:
        parameters["password"] = opening.secret(password)
    client = connect(opening if patience is None else replace(opening, timeout=patience), parameters)
    # What dr gives up, the server gives up too.
    limit = f"{max(1, round(opening.timeout * 1000))}ms"
    try:
        client.rows("select set_config('statement_timeout', %s, false)", [limit])
    except TargetUnreachable:
        client.close()
        raise
    return client


def parameters_of(opening: Opening, dsn: str) -> dict[str, Any]:
    """The parameters of a connection string. A password in it is masked from here on, in its URL-encoded form too.

    Raises:
        TargetUnreachable: it is no connection string. libpq's own message is not passed on: it quotes the text, and
            where the password has a space in it, what it quotes is the password.
    """
    try:
        parameters = conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        raise TargetUnreachable(f"the connection string of {opening.name} is malformed") from None
    for secret in ("password", "sslpassword"):
        value = parameters.get(secret)
        if isinstance(value, str) and value:
            opening.mask(value)
            opening.mask(quote(value, safe=""))
    return parameters


class _Connection(psycopg.Connection[TupleRow]):
    """psycopg's connection; a call that is not answered by the deadline raises TimeoutError and closes it."""

    deadline = math.inf
    """A time of `time.monotonic`."""

    def wait(self, gen: PQGen[RV], interval: float = WAKE, timeout: float | None = None) -> RV:
        """Every answer of the server is waited for here."""
        left = max(0.001, self.deadline - time.monotonic())
        return super().wait(self._until_deadline(gen), min(interval, left))

    def _until_deadline(self, gen: PQGen[RV]) -> PQGen[RV]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if time.monotonic() > self.deadline:
                    # Closed, because what it still answers would be taken for the answer to the next question.
                    self.pgconn.finish()
                    raise TimeoutError
                wanted = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result


@contextmanager
def _reachable(name: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise TargetUnreachable(f"{name} did not answer in time") from None
    except psycopg.Error as error:
        kind = Overloaded if _FULL.search(str(error)) else TargetUnreachable
        raise kind(f"{name}: {_one_line(error)}") from None


def _one_line(error: psycopg.Error) -> str:
    return re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__


def _json(value: object) -> object:
    match value:
        case None | bool() | int():
            return value
        case float() | Decimal() if math.isfinite(value):
            return float(value)
        case _:
            return str(value)[:MOST_TEXT]
