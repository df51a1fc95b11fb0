"""One visit to a page of the shop, as a browser makes it."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

from dr.demo.database import PRODUCTS

# Which pages are opened, and how often.
PAGES = {"home": 40, "product": 30, "search": 20, "checkout": 10}
READING = {"home": 1, "product": 1, "search": 1}
WORDS = ("lamp", "chair", "red", "kettle", "plain", "mirror")

UNANSWERED = (OSError, EOFError)  # what `get` raises for no answer or half an answer; TimeoutError is an OSError


@dataclass(frozen=True)
class Request:
    """What is asked of the shop."""

    page: str
    line: str
    body: str = ""


def some_page(chance: random.Random, pages: Mapping[str, int] = PAGES) -> Request:
    """A page as visitors choose them, by weight."""
    [page] = chance.choices(list(pages), weights=list(pages.values()))
    number = chance.randint(1, PRODUCTS)
    match page:
        case "home":
            return Request(page, "GET / HTTP/1.1")
        case "product":
            return Request(page, f"GET /product/{number} HTTP/1.1")
        case "search":
            return Request(page, f"GET /search?q={chance.choice(WORDS)} HTTP/1.1")
        case _:
            return Request(page, "POST /checkout HTTP/1.1", f"product={number}")


async def get(port: int, wanted: Request, session: str) -> int:
    """Open the page on a new connection and read it to its end; returns the HTTP status.

    Raises one of UNANSWERED.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [wanted.line, f"Host: 127.0.0.1:{port}", f"Cookie: session={session}", "Connection: close"]
        if wanted.body:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(wanted.body)}"]
        writer.write("\r\n".join([*lines, "", wanted.body]).encode())
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        await reader.read()
    finally:
        writer.close()
    return status
