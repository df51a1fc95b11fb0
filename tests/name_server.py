"""DNS on this machine: name servers for a zone of LocalStack, which says what Route 53 would answer and has none.

They follow the rules of Route 53: by weight, without sites whose health check fails, with the records' time to live.
A test ends in failure if anybody ever finds the zone between two states, or asks what nobody asks.
"""

import random
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

from tests.website import visit
from tests.zone import NAME, Zone

Answering = Callable[[dns.message.Message], dns.message.Message]
Record = dict[str, Any]
QUESTIONS = {dns.rdatatype.A, dns.rdatatype.AAAA}
USERS = 5


class NameServer:
    """What answers for the zone, and what it found wrong with it."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._chance = random.Random(53)

    def answer(self, question: dns.message.Message) -> dns.message.Message:
        [asked] = question.question
        assert asked.name == dns.name.from_text(NAME), f"somebody asks for {asked.name}"
        assert asked.rdtype in QUESTIONS, f"somebody asks for {asked}"
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA
        if asked.rdtype == dns.rdatatype.A:
            record = self._chosen(self._zone.records())
            [value] = record["ResourceRecords"]
            answer.answer.append(dns.rrset.from_text(asked.name, record["TTL"], "IN", "A", value["Value"]))
        return answer

    def _chosen(self, records: Sequence[Record]) -> Record:
        """One of the records. Where none is well, Route 53 takes all for well; without weights, all are alike."""
        sites = [record["SetIdentifier"] for record in records]
        assert sorted(sites) == ["here", "there"], f"in the middle of a change the zone has the records of {sites}"
        assert any(record["Weight"] for record in records), "at some time all weights were 0"
        well = [record for record in records if self._is_well(record)] or records
        weights = [record["Weight"] for record in well]
        return self._chance.choices(well, weights if any(weights) else None)[0]

    def _is_well(self, record: Record) -> bool:
        """What Route 53's checkers see: the site answers with a status of 2xx or 3xx."""
        if (check := record.get("HealthCheckId")) is None:
            return True
        rules = self._zone.rules(check)
        try:
            return 200 <= visit(rules["IPAddress"], rules["Port"], rules.get("ResourcePath", "/")).status < 400
        except OSError:
            return False


def resolver(address: tuple[str, int]) -> dns.resolver.Resolver:
    """One that asks there, and keeps an answer for its time to live."""
    made = dns.resolver.Resolver(configure=False)
    made.nameservers = [address[0]]
    made.port = address[1]
    made.cache = dns.resolver.Cache()
    made.timeout = made.lifetime = 60.0  # nothing is lost on the way; a loaded machine is slow
    return made


def address(by: dns.resolver.Resolver) -> str:
    """Where a user goes who asks that resolver."""
    return str(by.resolve(NAME + ".", "A")[0].to_text())


def relayed(through: dns.resolver.Resolver) -> Answering:
    """What a resolver answers that serves a whole machine or network."""

    def answer(question: dns.message.Message) -> dns.message.Message:
        [asked] = question.question
        found = through.resolve(asked.name, asked.rdtype, raise_on_no_answer=False)
        answer = dns.message.make_response(question)
        if found.rrset is not None:
            left = max(0, int(found.expiration - time.time()))
            answer.answer.append(dns.rrset.from_rdata_list(asked.name, left, list(found.rrset)))
        return answer

    return answer


@contextmanager
def serving(answer: Answering, host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, int]]:
    """Answer by UDP until the end; the address. What `answer` raises is raised at the end."""
    wrong: list[Exception] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            datagram, sock = self.request
            question = dns.message.from_wire(datagram)
            try:
                reply = answer(question)
            except Exception as error:  # noqa: BLE001 - carried to the test, which it ends
                wrong.append(error)
                reply = dns.message.make_response(question)
                reply.set_rcode(dns.rcode.SERVFAIL)
            sock.sendto(reply.to_wire(), self.client_address)

    with socketserver.UDPServer((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield host, server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
    if wrong:
        raise wrong[0]


@contextmanager
def users(place: tuple[str, int], port: int, *, kept: float) -> Iterator[list[Exception]]:
    """They visit the shop again and again, each with a resolver of his own; yields the errors they get.

    They come one after the other, spread over the time for which a resolver keeps an answer: at no moment have all of
    them a new one.
    """
    over = threading.Event()
    errors: list[Exception] = []

    def visit_often(comes: float) -> None:
        mine = resolver(place)
        over.wait(comes)
        while not over.wait(0.02):
            try:
                visit(address(mine), port)
            except (OSError, HTTPException, dns.exception.DNSException) as error:
                errors.append(error)

    threads = [threading.Thread(target=visit_often, args=(kept * which / USERS,)) for which in range(USERS)]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        over.set()
        for thread in threads:
            thread.join()
