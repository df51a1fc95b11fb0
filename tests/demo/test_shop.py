import json
import threading
from pathlib import Path

from flask.testing import FlaskClient
from openfeature.client import OpenFeatureClient

from dr.demo import flags, wait
from dr.demo.postgres import Pair, Server
from dr.demo.shop import POOL_SIZE, Pool


def features_asking(server: Server) -> list[str]:
    """The first word of what each of the shop's sessions on a server ran last, if it ran anything."""
    with server.connect() as connection:
        rows = connection.execute(
            "select split_part(query, ' ', 1) from pg_stat_activity where application_name = 'shop' and query <> ''"
        ).fetchall()
    return [str(word).strip() for (word,) in rows]


def looping(server: Server) -> int:
    return features_asking(server).count("/*feature='recommendations'*/")


def edit(flag_file: Path, feature: str, **members: object) -> None:
    document = json.loads(flag_file.read_text())
    document["flags"][feature].update(members)
    flags.replace(flag_file, document)


def shift_reads(flag_file: Path, features: OpenFeatureClient, percent: int) -> None:
    rule = {"fractional": [["standby", percent], ["primary", 100 - percent]]}
    edit(flag_file, "reads-from", targeting=rule)
    wait.until(
        lambda: features.get_string_details("reads-from", "primary").reason != "STATIC", 30, "the shop sees the rule"
    )


def test_every_query_begins_with_the_name_of_its_feature(visitor: FlaskClient, filled: Pair) -> None:
    for path, feature in (("/", "home"), ("/product/7", "product"), ("/search?q=lamp", "search")):
        assert visitor.get(path).status_code == 200
        assert f"/*feature='{feature}'*/" in features_asking(filled.primary)
    assert visitor.post("/checkout", data={"product": "7"}).status_code == 200
    assert set(features_asking(filled.primary)) >= {"/*feature='checkout'*/"}
    assert all(word.startswith("/*feature='") for word in features_asking(filled.primary))


def test_an_order_takes_one_from_the_stock(visitor: FlaskClient, filled: Pair) -> None:
    stock_and_orders = "select stock, (select count(*) from orders where product = 9) from products where id = 9"
    with filled.primary.connect() as connection:
        before = connection.execute(stock_and_orders).fetchone()
        assert visitor.post("/checkout", data={"product": "9"}).status_code == 200
        after = connection.execute(stock_and_orders).fetchone()
    assert before == (1_000_000, 0)
    assert after == (999_999, 1)


def test_what_is_not_there_is_not_found(visitor: FlaskClient) -> None:
    assert visitor.get("/product/999999").status_code == 404
    assert visitor.post("/checkout", data={"product": "999999"}).status_code == 409


def test_reads_go_where_the_flag_says_and_writes_to_the_primary(
    visitor: FlaskClient, features: OpenFeatureClient, filled: Pair, flag_file: Path
) -> None:
    assert visitor.get("/").status_code == 200
    assert features_asking(filled.primary) == ["/*feature='home'*/"]
    assert features_asking(filled.standby) == []
    shift_reads(flag_file, features, 100)
    for path in ("/product/7", "/search?q=lamp"):
        assert visitor.get(path).status_code == 200
    assert visitor.post("/checkout", data={"product": "7"}).status_code == 200
    assert not {"/*feature='home'*/", "/*feature='checkout'*/"} & set(features_asking(filled.standby))
    assert not {"/*feature='product'*/", "/*feature='search'*/"} & set(features_asking(filled.primary))


def test_a_quarter_of_the_sessions_can_read_from_the_standby_and_they_stay_there(
    visitor: FlaskClient, pools: dict[str, Pool], features: OpenFeatureClient, flag_file: Path
) -> None:
    def reads_of_all_sessions() -> int:
        before = pools["standby"].get_stats().get("requests_num", 0)
        for number in range(200):
            visitor.set_cookie("session", f"visitor {number}")
            assert visitor.get("/product/7").status_code == 200
        return pools["standby"].get_stats().get("requests_num", 0) - before

    shift_reads(flag_file, features, 25)
    first = reads_of_all_sessions()
    assert 25 <= first <= 75
    assert reads_of_all_sessions() == first


def test_the_loop_outlives_the_flag_and_ends_with_its_session(
    visitor: FlaskClient, features: OpenFeatureClient, filled: Pair, flag_file: Path
) -> None:
    def released() -> bool:
        return features.get_boolean_value(flags.RECOMMENDATIONS, default_value=False)

    flags.release(flag_file, flags.RECOMMENDATIONS)
    wait.until(released, 30, "the feature is on")
    loops = [threading.Thread(target=visitor.application.test_client().get, args=["/"]) for _ in range(POOL_SIZE)]
    for loop in loops:
        loop.start()
    wait.until(lambda: looping(filled.primary) == POOL_SIZE, 30, "every connection loops")

    edit(flag_file, flags.RECOMMENDATIONS, state="DISABLED")
    wait.until(lambda: not released(), 30, "the feature is off")
    assert visitor.get("/").status_code == 503
    assert visitor.get("/healthz").status_code == 200  # the process is well; that is not what visitors need
    assert looping(filled.primary) == POOL_SIZE

    with filled.primary.connect() as rescuer:
        rescuer.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'shop'")
    for loop in loops:
        loop.join()
    wait.until(lambda: visitor.get("/").status_code == 200, 30, "the shop serves again")
    assert looping(filled.primary) == 0
