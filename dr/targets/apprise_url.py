"""Everybody else who takes messages (chat, mail, pagers), by apprise's addresses. Takes the extra `apprise`."""

import time
from typing import ClassVar

from dr.core.secret import SecretRef, check_reference
from dr.errors import PartMissing
from dr.targets.protocols import Opening, Receipt, TargetConfig, TargetUnreachable
from dr.targets.transport import receipts
from dr.targets.transport.deadline import within


class Apprise(TargetConfig, frozen=True, tag="apprise"):
    """A chat, a mailbox, a pager: anything that apprise has an address for."""

    speaks: ClassVar[tuple[str, ...]] = ("Notifier",)

    url: SecretRef
    """Its address, such as slack://TOKENS or mailtos://...; a secret, for it holds the token or password."""

    def __post_init__(self) -> None:
        check_reference("url", self.url)


def open_target(config: Apprise, opening: Opening) -> "AppriseAddress":
    """The address, taken apart. Nothing is connected yet.

    Raises:
        PartMissing: apprise is not installed.
    """
    return AppriseAddress(config.url, opening.secret(config.url), opening)


class AppriseAddress:
    """A Notifier. What apprise says of a failure may hold parts of the address, so it is not repeated."""

    def __init__(self, reference: str, url: str, opening: Opening) -> None:
        import logging

        try:
            import apprise
        except ImportError:
            raise PartMissing(
                "apprise is not installed", stands="nothing was sent", hint="pip install 'dr-runbooks[apprise]'"
            ) from None
        logging.getLogger("apprise").disabled = True  # its warnings may hold the address
        self._opening = opening
        self._deadline = time.monotonic() + opening.timeout
        self._reference = reference
        self._apprise = apprise.Apprise()
        if not self._apprise.add(url):
            raise LookupError(f"{opening.name}: what {reference} holds is no address that apprise knows")

    def ping(self) -> None:
        """Apprise knows the address. Whether somebody is there shows only when a message is sent."""

    def close(self) -> None:
        pass

    def tell(self, subject: str, text: str) -> Receipt:
        name = self._opening.name
        left = max(0.0, self._deadline - time.monotonic())
        try:
            taken = within(left, lambda: self._apprise.notify(text, title=subject), discard=self._keep)
        except TimeoutError:
            raise TargetUnreachable(f"{name}: no answer in time") from None
        if not taken:
            raise TargetUnreachable(f"{name}: the service behind {self._reference} did not take the message")
        self._keep(taken)
        return {"taken": True}

    def told(self) -> Receipt | None:
        return receipts.find(self._opening)

    def _keep(self, taken: object) -> None:
        """Also of an answer that comes too late to be waited for."""
        if taken:
            receipts.keep(self._opening, {"taken": True})
