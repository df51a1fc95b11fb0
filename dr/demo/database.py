"""What the shop's database holds, and who may do what there."""

from dataclasses import dataclass

from psycopg import sql
from psycopg.conninfo import make_conninfo

from dr.demo.postgres import Server

SHOP = "shop"
RESCUER = "dr"

PRODUCTS = 2_000
CUSTOMERS = 5_000
ORDER_LINES = 100_000

# There is no index by product or customer on order_lines. Nobody misses it until a query that joins the table with
# itself is run in a loop.
SCHEMA = f"""
create table products (
    id int primary key, name text not null, category text not null, price numeric(8, 2) not null,
    stock int not null, sold int not null
);
create table orders (
    id bigint generated always as identity primary key, product int not null references products, session text not null,
    price numeric(8, 2) not null, at timestamptz not null default now()
);
create table order_lines (customer int not null, product int not null);
insert into products
    select n, format('%s %s no. %s',
                     (array['Red', 'Green', 'Blue', 'Plain', 'Large', 'Small'])[1 + n % 6],
                     (array['lamp', 'chair', 'table', 'kettle', 'carpet', 'mirror', 'clock'])[1 + n % 7], n),
           (array['kitchen', 'bath', 'garden', 'office'])[1 + n % 4], 5 + n % 400, 1000000, n * 7919 % {PRODUCTS}
      from generate_series(1, {PRODUCTS}) as n;
insert into order_lines
    select n * 31 % {CUSTOMERS}, 1 + n::bigint * 7919 % {PRODUCTS} from generate_series(1, {ORDER_LINES}) as n;
create index on products (sold desc, id);
grant select, insert, update on products, orders to {SHOP};
grant select on order_lines to {SHOP};
grant pg_monitor, pg_signal_backend to {RESCUER};
"""


@dataclass(frozen=True)
class Logins:
    """Passwords of the roles; one of them never opens the other's door."""

    shop: str
    rescuer: str

    def shop_dsn(self, server: Server) -> str:
        """How the shop connects to a server."""
        return make_conninfo(server.dsn, user=SHOP, password=self.shop)

    def rescuer_dsn(self, server: Server) -> str:
        """How `dr` connects: a role that may look at everything and end sessions of others."""
        return make_conninfo(server.dsn, user=RESCUER, password=self.rescuer)


def fill(primary: Server, logins: Logins) -> None:
    """Create the roles, the tables and their rows; a standby gets them by replication."""
    with primary.connect() as connection:
        for role, password in ((SHOP, logins.shop), (RESCUER, logins.rescuer)):
            connection.execute(
                sql.SQL("create role {} login password {}").format(sql.Identifier(role), sql.Literal(password))
            )
        connection.execute(SCHEMA)
        connection.execute("vacuum analyze")
