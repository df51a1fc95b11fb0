"""The proxy's faults are what they claim to be, to a real client before the real LocalStack."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from dr.demo import wait
from localstack.instance import LocalStack
from tests.localstack_fixture import Bucket, Buckets
from tests.proxy import ALWAYS, SLOW_DOWN, Answer, Delay, Fault, Proxy

LIMIT = 30
BODY = bytes(range(256)) * 1024


@pytest.fixture
def bucket(buckets: Buckets) -> Bucket:
    return buckets.home


@pytest.fixture
def proxy(localstack: LocalStack) -> Iterator[Proxy]:
    with Proxy(localstack.endpoint) as proxy:
        yield proxy


@pytest.fixture
def near(localstack: LocalStack, bucket: Bucket) -> Any:
    """S3 without the proxy: what is really there."""
    return localstack.client("s3", bucket.region)


@pytest.fixture
def far(localstack: LocalStack, bucket: Bucket, proxy: Proxy) -> Any:
    """S3 through the proxy."""
    return localstack.client("s3", bucket.region, endpoint=proxy.endpoint)


def keys(s3: Any, bucket: Bucket) -> list[str]:
    return [version["Key"] for version in s3.list_object_versions(Bucket=bucket.name).get("Versions", [])]


def test_without_a_rule_nothing_is_changed(far: Any, near: Any, bucket: Bucket) -> None:
    far.put_object(Bucket=bucket.name, Key="a b/ü", Body=BODY, IfNoneMatch="*", ChecksumAlgorithm="SHA256")
    direct = near.get_object(Bucket=bucket.name, Key="a b/ü", ChecksumMode="ENABLED")
    through = far.get_object(Bucket=bucket.name, Key="a b/ü", ChecksumMode="ENABLED")
    assert direct["Body"].read() == through["Body"].read() == BODY
    assert direct["ChecksumSHA256"] == through["ChecksumSHA256"]
    assert far.head_object(Bucket=bucket.name, Key="a b/ü")["ContentLength"] == len(BODY)
    assert keys(far, bucket) == ["a b/ü"]


def test_a_put_cut_in_its_body_has_no_effect(proxy: Proxy, far: Any, near: Any, bucket: Bucket) -> None:
    proxy.on(Fault.RESET_IN_BODY, method="PUT")
    with pytest.raises(ConnectionClosedError):
        far.put_object(Bucket=bucket.name, Key="cut", Body=BODY)
    near.put_object(Bucket=bucket.name, Key="after", Body=b"")
    assert keys(near, bucket) == ["after"]


def test_a_put_cut_before_its_reply_took_effect(proxy: Proxy, far: Any, near: Any, bucket: Bucket) -> None:
    proxy.on(Fault.RESET_BEFORE_REPLY, method="PUT")
    with pytest.raises(ConnectionClosedError):
        far.put_object(Bucket=bucket.name, Key="stored", Body=BODY)
    assert near.get_object(Bucket=bucket.name, Key="stored")["Body"].read() == BODY


@pytest.mark.parametrize("answer", [SLOW_DOWN, Answer(400, "ExpiredToken"), Answer(403, "AccessDenied")])
def test_a_refusal_reaches_the_client_and_not_the_service(
    proxy: Proxy, far: Any, near: Any, bucket: Bucket, answer: Answer
) -> None:
    proxy.on(answer)
    with pytest.raises(ClientError) as refused:
        far.put_object(Bucket=bucket.name, Key="refused", Body=BODY)
    assert refused.value.response["Error"]["Code"] == answer.code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == answer.status
    assert keys(near, bucket) == []


def test_only_the_requests_that_were_named_are_struck(proxy: Proxy, far: Any, bucket: Bucket) -> None:
    proxy.on(SLOW_DOWN, method="PUT", path="/entry", nth=(2, 4))
    outcomes = []
    for number in range(1, 6):
        far.put_object(Bucket=bucket.name, Key="other", Body=b"")
        far.list_object_versions(Bucket=bucket.name, Prefix="entry")
        try:
            far.put_object(Bucket=bucket.name, Key=f"entry-{number}", Body=b"")
            outcomes.append("stored")
        except ClientError:
            outcomes.append("refused")
    assert outcomes == ["stored", "refused", "stored", "refused", "stored"]
    assert [request.path for request in proxy.seen if request.fault] == [
        f"/{bucket.name}/entry-2",
        f"/{bucket.name}/entry-4",
    ]


def test_a_client_that_repeats_its_call_gets_past_a_single_fault(
    localstack: LocalStack, proxy: Proxy, bucket: Bucket
) -> None:
    proxy.on(SLOW_DOWN, nth=(1,))
    far = localstack.client("s3", bucket.region, endpoint=proxy.endpoint, retries={"total_max_attempts": 2})
    far.put_object(Bucket=bucket.name, Key="second", Body=BODY)
    assert [request.fault for request in proxy.seen] == [SLOW_DOWN, None]


def test_a_put_that_hangs_takes_effect_when_its_client_has_long_given_up(
    localstack: LocalStack, proxy: Proxy, near: Any, bucket: Bucket
) -> None:
    proxy.on(Fault.HANG, method="PUT")
    impatient = localstack.client("s3", bucket.region, endpoint=proxy.endpoint, read_timeout=0.2)
    with pytest.raises(ReadTimeoutError):
        impatient.put_object(Bucket=bucket.name, Key="late", Body=BODY)
    assert proxy.held == 1
    assert keys(near, bucket) == []
    proxy.release()
    wait.until(lambda: keys(near, bucket) == ["late"], LIMIT, "the late put takes effect")


def test_a_put_whose_reply_hangs_took_effect(localstack: LocalStack, proxy: Proxy, near: Any, bucket: Bucket) -> None:
    proxy.on(Fault.HANG_BEFORE_REPLY, method="PUT")
    far = localstack.client("s3", bucket.region, endpoint=proxy.endpoint)
    with ThreadPoolExecutor() as pool:
        put = pool.submit(far.put_object, Bucket=bucket.name, Key="held", Body=BODY)
        wait.until(lambda: proxy.held == 1, LIMIT, "the reply is held")
        stored, answered = keys(near, bucket), put.done()
        proxy.release()
    assert (stored, answered) == (["held"], False)
    assert put.result()["VersionId"]


def test_a_delayed_put_is_held_for_a_time_and_arrives(proxy: Proxy, far: Any, near: Any, bucket: Bucket) -> None:
    proxy.on(Delay(0.2), method="PUT")
    with ThreadPoolExecutor() as pool:
        put = pool.submit(far.put_object, Bucket=bucket.name, Key="slow", Body=BODY)
        wait.until(lambda: proxy.held == 1, LIMIT, "the put is held")
        put.result(LIMIT)
    assert keys(near, bucket) == ["slow"]


def test_a_service_that_is_gone_refuses_connections_until_it_is_back(
    proxy: Proxy, far: Any, near: Any, bucket: Bucket
) -> None:
    proxy.on(Fault.REFUSE, method="PUT", nth=(2,))
    far.put_object(Bucket=bucket.name, Key="1", Body=BODY)
    with pytest.raises(BotoCoreError):  # the connection it came on is cut
        far.put_object(Bucket=bucket.name, Key="2", Body=BODY)
    for _ in range(2):
        with pytest.raises(EndpointConnectionError):
            far.put_object(Bucket=bucket.name, Key="3", Body=BODY)
    assert keys(near, bucket) == ["1"]
    proxy.reopen()
    far.put_object(Bucket=bucket.name, Key="4", Body=BODY)
    assert keys(near, bucket) == ["1", "4"]


def test_a_proxy_ends_although_everything_hangs(localstack: LocalStack, bucket: Bucket) -> None:
    with ThreadPoolExecutor() as pool, Proxy(localstack.endpoint) as proxy:
        proxy.on(Fault.HANG, nth=ALWAYS)
        far = localstack.client("s3", bucket.region, endpoint=proxy.endpoint)
        hanging = [pool.submit(far.put_object, Bucket=bucket.name, Key=str(n), Body=BODY) for n in range(4)]
        wait.until(lambda: proxy.held == len(hanging), LIMIT, "all hang")
    assert all(isinstance(call.exception(LIMIT), ConnectionClosedError) for call in hanging)


def test_rules_can_be_forgotten(proxy: Proxy, far: Any, bucket: Bucket) -> None:
    proxy.on(SLOW_DOWN, nth=ALWAYS)
    proxy.calm()
    far.put_object(Bucket=bucket.name, Key="calm", Body=BODY)
