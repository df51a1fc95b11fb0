"""A fence that leaves a server running and closes every way by which somebody could still write there."""

import time
from collections.abc import Callable, Collection
from typing import Final

from dr.targets.protocols import Refused, TargetUnreachable

POLL: Final = 0.02


class WaysIn:
    """A FencingAgent, by what finds those ways and what closes them; neither does harm when repeated."""

    def __init__(
        self,
        name: str,
        server: str,
        *,
        find: Callable[[], Collection[str]],
        prepare: Callable[[], None] = lambda: None,
        close: Callable[[], None],
        keep_within: Callable[[float], None],
        end: Callable[[], None],
    ) -> None:
        """`find` says in words by which ways one gets to `server`, `close` closes them, `end` lets all targets go.

        `prepare` tries beforehand what could keep `close` from closing all of them.
        """
        self.server = server
        self._name = name
        self._find = find
        self._prepare = prepare
        self._close = close
        self._keep_within = keep_within
        self._end = end

    def ping(self) -> None:
        self._find()

    def close(self) -> None:
        self._end()

    def keep_within(self, seconds: float) -> None:
        self._keep_within(seconds)

    def fenced(self) -> bool:
        return not self._find()

    def fence(self) -> None:
        """A session that is told to end may need a moment, and somebody may be about to get in."""
        found: Collection[str] = ()
        try:
            if found := self._find():
                self._prepare()
            while found:
                self._close()
                time.sleep(POLL)
                found = self._find()
        except TargetUnreachable as error:  # at the deadline at the latest
            why = f"{self.server} could be written to by {', '.join(found)}; {error}" if found else str(error)
            raise Refused(f"{self._name}: {why}") from None
