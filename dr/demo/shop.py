"""A small web shop, and the bug that took it down: `python -m dr.demo.shop --flags FILE --socket FD`.

The connection strings are in the environment variables SHOP_PRIMARY and SHOP_STANDBY, where no process list shows them.
"""

import argparse
import logging
import os
import socket
import uuid
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from pathlib import Path

import psycopg
import waitress
from flask import Flask, Response, abort, g, request
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from dr.demo import flags
from dr.demo.database import SHOP

Connection = psycopg.Connection[DictRow]
Pool = ConnectionPool[Connection]

THREADS = 48
POOL_SIZE = 6
# A request that gets no connection fails after 1.5 s; when 24 wait already, at once. So the shop answers an overload
# with slow pages and with errors, and keeps threads for what does not need the database.
POOL_TIMEOUT = 1.5
POOL_WAITING = 24
# It stops a query that runs away. It does not stop a loop of short ones.
STATEMENT_TIMEOUT = "10s"

# Every query names its feature first: pg_stat_activity keeps the first kilobyte only.
HOME = "/*feature='home'*/ select id, name, price from products order by sold desc, id limit 12"
PRODUCT = "/*feature='product'*/ select id, name, price, category from products where id = %s"
SEARCH = "/*feature='search'*/ select id, name, price from products where name ilike %s order by sold desc, id limit 20"
ORDER = """/*feature='checkout'*/
    with taken as (update products set stock = stock - 1 where id = %s and stock > 0 returning id, price)
    insert into orders (product, session, price) select id, %s, price from taken returning id"""
ALSO_BOUGHT = """/*feature='recommendations'*/
    select theirs.product as id, count(*) as times
      from order_lines as mine join order_lines as theirs using (customer)
     where mine.product = %s and theirs.product <> %s
     group by 1 order by 2 desc, 1 limit 5"""
RECOMMENDED = 6


@dataclass(frozen=True)
class Shop:
    """The pages. Reads go where the flag `reads-from` says, writes to the primary."""

    pools: Mapping[str, Pool]
    features: OpenFeatureClient

    def home(self) -> str:
        with self.reading() as connection:
            products = connection.execute(HOME).fetchall()
        return page("Welcome", products) + self.recommendations(products[0]["id"])

    def product(self, number: int) -> str:
        with self.reading() as connection:
            found = connection.execute(PRODUCT, [number]).fetchall()
        if not found:
            abort(HTTPStatus.NOT_FOUND)
        return page(found[0]["category"], found) + self.recommendations(number)

    def search(self) -> str:
        wanted = request.args.get("q", "")
        with self.reading() as connection:
            found = connection.execute(SEARCH, [f"%{wanted}%"]).fetchall()
        return page(f"Found for {wanted}", found)

    def checkout(self) -> str:
        with self.pools[flags.PRIMARY].connection() as connection:
            order = connection.execute(ORDER, [request.form["product"], g.session]).fetchone()
        if order is None:
            abort(HTTPStatus.CONFLICT)
        return page(f"Thank you for order {order['id']}", [])

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection to the server this session reads from."""
        visitor = EvaluationContext(targeting_key=g.session)
        return self.pools[self.features.get_string_value(flags.READS_FROM, flags.PRIMARY, visitor)].connection()

    def recommendations(self, number: int) -> str:
        """What buyers of a product also bought, if the feature is released.

        This is the bug of the incident. It asks until it has six products, and every answer is the same five. Nobody
        looks at the flag in the loop, and nobody notices that the visitor has gone. It reads the primary, because the
        orders of the last minute count.
        """
        if not self.features.get_boolean_value(flags.RECOMMENDATIONS, default_value=False):
            return ""
        recommended: set[int] = set()
        with self.pools[flags.PRIMARY].connection() as connection:
            while len(recommended) < RECOMMENDED:
                rows = connection.execute(ALSO_BOUGHT, [number, number]).fetchall()
                recommended.update(row["id"] for row in rows)
        return "<p>Buyers of this also bought " + ", ".join(map(str, sorted(recommended)))


def create_app(shop: Shop) -> Flask:
    """The WSGI application."""
    app = Flask("shop")
    app.add_url_rule("/", view_func=shop.home)
    app.add_url_rule("/product/<int:number>", view_func=shop.product)
    app.add_url_rule("/search", view_func=shop.search)
    app.add_url_rule("/checkout", view_func=shop.checkout, methods=["POST"])
    app.add_url_rule("/healthz", "healthz", lambda: "ok\n")
    app.before_request(recognise)
    app.after_request(remember)
    app.register_error_handler(psycopg.OperationalError, unavailable)
    return app


def recognise() -> None:
    """Name the visitor's session; a new visitor gets a name."""
    g.session = request.cookies.get("session") or uuid.uuid4().hex


def remember(response: Response) -> Response:
    """Let the visitor keep the session's name."""
    response.set_cookie("session", g.session, httponly=True, samesite="Lax")
    return response


def unavailable(error: Exception) -> tuple[str, int]:
    """The page for a database that cannot be reached, is full, or has ended the session."""
    logging.getLogger("shop").warning("%s: %s", type(error).__name__, error)
    return (
        "<!doctype html><title>Busy</title><p>Our shop is very busy. Please try again.\n",
        HTTPStatus.SERVICE_UNAVAILABLE,
    )


def page(title: str, products: Iterable[DictRow]) -> str:
    """A page with a list of products."""
    items = "".join(
        f"<li><a href=/product/{product['id']}>{escape(product['name'])}</a> {product['price']}" for product in products
    )
    return f"<!doctype html><title>{escape(title)}</title><h1>{escape(title)}</h1><ul>{items}</ul>\n"


def pool(dsn: str, name: str) -> Pool:
    """Connections to one server, opened in the background."""
    return ConnectionPool(
        dsn,
        name=name,
        connection_class=Connection,
        kwargs={
            "application_name": SHOP,
            "autocommit": True,
            "row_factory": dict_row,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT}",
        },
        min_size=POOL_SIZE,
        max_size=POOL_SIZE,
        timeout=POOL_TIMEOUT,
        max_waiting=POOL_WAITING,
        open=True,
    )


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--flags", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True, help="descriptor of a listening socket")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    shop = Shop(
        pools={
            flags.PRIMARY: pool(os.environ["SHOP_PRIMARY"], flags.PRIMARY),
            flags.STANDBY: pool(os.environ["SHOP_STANDBY"], flags.STANDBY),
        },
        features=flags.client(arguments.flags),
    )
    waitress.serve(create_app(shop), sockets=[socket.socket(fileno=arguments.socket)], threads=THREADS)


if __name__ == "__main__":
    main()
