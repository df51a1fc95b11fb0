"""A store on the running LocalStack behind a network that does its worst, and a cloud that says no."""

import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dr.audit.s3 import S3Store
from dr.audit.store import FateUnknown, Store, StoreRefused, StoreUnreachable, Taken
from localstack.instance import CREDENTIALS, LocalStack, running
from tests.localstack_fixture import Bucket as Named
from tests.localstack_fixture import Buckets, create_bucket, create_buckets
from tests.proxy import ALWAYS, SLOW_DOWN, Answer, Fault, Proxy
from tests.s3_world import PREFIX, S3Bucket, credentials

SOON = 30.0
ONE_TRY = 5.0
"""What a store that waits five seconds for an answer has time for."""


class LoginPage(Answer):
    """Of a wireless network, to whatever was asked."""

    @property
    def body(self) -> bytes:
        return b"<html><body>Accept our terms</body></html>"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with credentials(monkeypatch, **CREDENTIALS):
        yield


@pytest.fixture
def bucket(localstack: LocalStack, buckets: Buckets) -> S3Bucket:
    """Under Object Lock: COMPLIANCE, one day."""
    return S3Bucket(localstack, buckets.home)


@pytest.fixture
def proxy(localstack: LocalStack) -> Iterator[Proxy]:
    with Proxy(localstack.endpoint) as proxy:
        yield proxy


@pytest.fixture
def store(bucket: S3Bucket, proxy: Proxy) -> S3Store:
    """Its requests go through the proxy."""
    return bucket.store(endpoint=proxy.endpoint)


def content(store: Store, key: str) -> list[bytes]:
    """The first version of a key, if there is one; nothing was put on top of it."""
    found = [stored for stored in store.list(key) if stored.key == key]
    assert all((stored.later, stored.deleted) == (0, 0) for stored in found)
    return [store.read(stored) for stored in found]


# What the network does.


def test_a_try_whose_answer_was_lost_is_repeated_and_known_for_ones_own(store: S3Store, proxy: Proxy) -> None:
    proxy.on(Fault.RESET_BEFORE_REPLY, method="PUT")
    store.create("entry", b"ours", within=SOON)
    assert content(store, "entry") == [b"ours"]
    assert [request.method for request in proxy.seen].count("PUT") == 2


def test_a_put_that_was_cut_off_in_its_body_is_repeated(store: S3Store, proxy: Proxy) -> None:
    proxy.on(Fault.RESET_IN_BODY, method="PUT", nth=(1, 2))
    store.create("entry", b"ours", within=SOON)
    assert content(store, "entry") == [b"ours"]


@pytest.mark.parametrize(
    "fault, stored", [(Fault.RESET_BEFORE_REPLY, [b"ours"]), (Fault.RESET_IN_BODY, [])], ids=["heard", "unheard"]
)
def test_a_put_that_was_cut_off_may_have_been_stored_or_not_and_reading_tells(
    store: S3Store, proxy: Proxy, fault: Fault, stored: list[bytes]
) -> None:
    """Safety rule 8."""
    proxy.on(fault, method="PUT", nth=ALWAYS)
    with pytest.raises(FateUnknown, match="entry: no answer, or one that was cut off"):
        store.create("entry", b"ours", within=ONE_TRY)
    assert content(store, "entry") == stored
    proxy.calm()
    store.create("entry", b"ours", within=SOON)
    assert content(store, "entry") == [b"ours"]


def test_a_hanging_put_is_of_unknown_fate_and_may_take_effect_when_nobody_waits_for_it(
    bucket: S3Bucket, proxy: Proxy
) -> None:
    impatient = bucket.store(endpoint=proxy.endpoint, answer_within=0.5)
    list(impatient.list(""))
    proxy.on(Fault.HANG, method="PUT")
    with pytest.raises(FateUnknown, match="entry"):
        impatient.create("entry", b"ours", within=0.5)
    assert content(bucket.store(), "entry") == []
    proxy.release()
    bucket.store().create("entry", b"ours", within=SOON)
    assert content(bucket.store(), "entry") == [b"ours"]


def test_a_store_that_refuses_connections_is_unreachable_and_nothing_was_stored(
    bucket: S3Bucket, store: S3Store, proxy: Proxy
) -> None:
    proxy.refuse()
    for within in (0.0, ONE_TRY + 0.2):
        with pytest.raises(StoreUnreachable, match="entry: S3 cannot be reached; is the network up"):
            store.create("entry", b"ours", within=within)
    assert content(bucket.store(), "entry") == []
    proxy.reopen()
    store.create("entry", b"ours", within=SOON)


def test_a_question_that_gets_no_answer_is_no_empty_answer(bucket: S3Bucket, proxy: Proxy) -> None:
    bucket.store().create("entry", b"ours", within=SOON)
    (stored,) = bucket.store().list("entry")
    store = bucket.store(endpoint=proxy.endpoint, answer_within=30.0)
    for fault in (Fault.RESET_BEFORE_REPLY, SLOW_DOWN, LoginPage(200, "")):
        proxy.on(fault, method="GET", nth=ALWAYS)
        with pytest.raises(StoreUnreachable):
            list(store.list(""))
        with pytest.raises(StoreUnreachable):
            list(store.folders(""))
        if not isinstance(fault, LoginPage):  # whose bytes are judged by the chain
            with pytest.raises(StoreUnreachable):
                store.read(stored)
        proxy.calm()


def test_a_damaged_answer_is_noticed_and_asked_for_again(store: S3Store, proxy: Proxy) -> None:
    store.create("entry", b"ours", within=SOON)
    (stored,) = store.list("entry")
    proxy.on(Fault.DAMAGE_REPLY, method="GET", nth=(1, 2))
    assert store.read(stored) == b"ours"
    assert [request.fault for request in proxy.seen].count(Fault.DAMAGE_REPLY) == 2


def test_a_request_that_was_damaged_on_its_way_is_not_stored_but_sent_again(store: S3Store, proxy: Proxy) -> None:
    proxy.on(Answer(400, "BadDigest"), method="PUT")
    store.create("entry", b"ours", within=SOON)
    assert content(store, "entry") == [b"ours"]


@pytest.mark.usefixtures("localstack")  # skipped where it is not installed; this one is frozen, so it has its own
def test_localstack_frozen_in_the_middle_of_a_put_and_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    named = Named("frozen", "eu-central-1")
    with running() as own:
        create_bucket(own, named, locked=True)
        bucket = S3Bucket(own, named)
        store = bucket.store(answer_within=1.0)
        store.create("entry-0", b"before", within=SOON)
        own.freeze()
        with pytest.raises(FateUnknown, match="entry-1: no answer"):
            store.create("entry-1", b"ours", within=1.5)
        with monkeypatch.context() as patch:
            patch.setattr("dr.audit.s3.READ_WITHIN", 1.0)
            with pytest.raises(StoreUnreachable, match="no answer"):
                list(store.list(""))
        own.thaw()
        store = bucket.store()
        store.create("entry-1", b"ours", within=SOON)
        assert content(store, "entry-0") == [b"before"]
        assert content(store, "entry-1") == [b"ours"]


# What S3 says.


@pytest.mark.parametrize(
    "answer",
    [SLOW_DOWN, Answer(409, "ConditionalRequestConflict"), Answer(500, "InternalError"), Answer(400, "RequestTimeout")],
    ids=lambda answer: answer.code,
)
def test_a_store_that_is_busy_is_asked_again(store: S3Store, proxy: Proxy, answer: Answer) -> None:
    proxy.on(answer, method="PUT", nth=(1, 2))
    store.create("entry", b"ours", within=SOON)
    assert content(store, "entry") == [b"ours"]


def test_a_store_that_stays_busy_has_stored_nothing(store: S3Store, proxy: Proxy) -> None:
    proxy.on(SLOW_DOWN, method="PUT", nth=ALWAYS)
    with pytest.raises(StoreUnreachable, match=r"entry: S3 is busy or out of order \(PutObject: SlowDown"):
        store.create("entry", b"ours", within=ONE_TRY + 0.3)
    assert content(store, "entry") == []


def test_after_an_internal_error_of_s3_nobody_knows(store: S3Store, proxy: Proxy) -> None:
    proxy.on(Answer(500, "InternalError"), method="PUT", nth=ALWAYS)
    with pytest.raises(FateUnknown, match="out of order"):
        store.create("entry", b"ours", within=ONE_TRY)


REFUSALS = {
    "AccessDenied": (403, "a permission is missing; the journal needs s3:PutObject"),
    "AuthorizationHeaderMalformed": (400, "the bucket is in another region; mend `region`"),
    "ExpiredToken": (400, "the credentials have expired; log in to AWS again"),
    "InvalidAccessKeyId": (403, "AWS does not know these credentials"),
    "KMS.DisabledException": (400, "the KMS key cannot be used"),
    "RequestTimeTooSkewed": (403, "this machine's clock is wrong; compare `date -u`"),
    "SomethingNobodyHasSeenYet": (400, "S3 refuses"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_says_which_object_what_is_wrong_and_what_to_do(
    bucket: S3Bucket, store: S3Store, proxy: Proxy, code: str
) -> None:
    status, said = REFUSALS[code]
    proxy.on(Answer(status, code), nth=ALWAYS)
    with pytest.raises(StoreRefused, match=said) as refused:
        store.create("entry", b"ours", within=SOON)
    assert str(refused.value).startswith(f"s3://{bucket.bucket.name}/{PREFIX}/entry: ")
    assert code in str(refused.value)
    with pytest.raises(StoreRefused, match=said):
        list(store.list("runs/"))
    proxy.calm()
    assert content(store, "entry") == []


def test_a_refusal_after_a_lost_answer_leaves_the_fate_unknown(store: S3Store, proxy: Proxy) -> None:
    """The credentials expired between two tries: the first one was heard."""
    proxy.on(Fault.RESET_BEFORE_REPLY, method="PUT", nth=(1,))
    proxy.on(Answer(400, "ExpiredToken"), method="PUT", nth=ALWAYS)
    with pytest.raises(FateUnknown, match="log in to AWS again"):
        store.create("entry", b"ours", within=SOON)
    assert content(store, "entry") == [b"ours"]


@pytest.mark.parametrize("answer", [SLOW_DOWN, Answer(403, "AccessDenied")], ids=lambda answer: answer.code)
def test_what_is_taken_and_cannot_be_read_is_of_unknown_fate(
    bucket: S3Bucket, store: S3Store, proxy: Proxy, answer: Answer
) -> None:
    bucket.store().create("entry", b"ours", within=SOON)
    proxy.on(answer, method="GET", nth=ALWAYS)
    with pytest.raises(FateUnknown, match="entry is there already, and what is there could not be read"):
        store.create("entry", b"ours", within=ONE_TRY)


def test_a_bucket_that_is_not_there_is_named(localstack: LocalStack) -> None:
    store = S3Bucket(localstack, Named("nobody-has-made-this", "eu-central-1")).store()
    with pytest.raises(StoreRefused, match=r"s3://nobody-has-made-this/.*there is no such bucket"):
        store.create("entry", b"ours", within=SOON)
    with pytest.raises(StoreRefused, match="there is no such bucket"):
        list(store.folders("runs/"))


def test_a_bucket_that_keeps_no_versions_is_refused(localstack: LocalStack) -> None:
    """Also when the object is there already: an overwrite would leave no trace."""
    bucket = S3Bucket(localstack, create_buckets(localstack, locked=False).home)
    for status in ("Suspended", "Enabled", "Suspended"):
        configuration = {"Status": status}
        bucket.s3.put_bucket_versioning(Bucket=bucket.bucket.name, VersioningConfiguration=configuration)
        if status == "Suspended":
            for _ in "twice":
                with pytest.raises(StoreRefused, match="keeps no versions, so a change leaves no trace"):
                    bucket.store().create("entry", b"ours", within=SOON)


# How objects are kept.


def test_an_object_is_kept_as_dr_toml_says(localstack: LocalStack, bucket: S3Bucket) -> None:
    key = localstack.client("kms", bucket.bucket.region).create_key()["KeyMetadata"]["Arn"]
    before = datetime.now(UTC)
    store = bucket.store(kms_key=key, storage_class="STANDARD_IA", object_lock="GOVERNANCE", retention=3 * 86400.0)
    store.create("entry", b"ours", within=SOON)
    head = bucket.head("entry")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)
    assert head["StorageClass"] == "STANDARD_IA"
    assert head["ObjectLockMode"] == "GOVERNANCE"
    until = head["ObjectLockRetainUntilDate"]
    assert before + timedelta(days=3, seconds=-1) <= until <= datetime.now(UTC) + timedelta(days=3)
    assert content(store, "entry") == [b"ours"]


def test_with_nothing_said_the_bucket_decides(bucket: S3Bucket) -> None:
    bucket.store().create("entry", b"ours", within=SOON)
    head = bucket.head("entry")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert "StorageClass" not in head
    assert "SSEKMSKeyId" not in head


def test_the_sha_256_of_every_object_is_sent_and_kept(bucket: S3Bucket) -> None:
    bucket.store().create("entry", b"ours", within=SOON)
    assert bucket.head("entry")["ChecksumSHA256"] == b64encode(sha256(b"ours").digest()).decode()


def test_no_put_waits_for_permission_to_send_its_body(bucket: S3Bucket) -> None:
    """`Expect: 100-continue` would double the time of every append."""
    store, headers = bucket.store(), list[str]()
    client = store._opened.result()._s3
    client.meta.events.register("before-send.s3", lambda request, **_: headers.extend(request.headers))
    store.create("entry", b"ours", within=SOON)
    assert "If-None-Match" in headers
    assert "Expect" not in headers


def test_a_listing_of_many_pages_is_whole_wherever_a_page_ends(bucket: S3Bucket) -> None:
    """Pages of one row up to all: a page can end between the versions and markers of a key."""
    store = bucket.store()
    for key in ("a/1", "a/2", "b/1", "b/2", "c"):
        store.create(key, key.encode(), within=SOON)
    for key in ("a/2", "b/1"):
        bucket.put(key, b"on top")
        bucket.mark_deleted(key)
        bucket.put(key, b"on top of that")
    whole, folders = list(store.list("")), list(store.folders(""))
    assert [(stored.key, stored.later, stored.deleted) for stored in whole] == [
        ("a/1", 0, 0), ("a/2", 2, 1), ("b/1", 2, 1), ("b/2", 0, 0), ("c", 0, 0)
    ]  # fmt: skip
    assert folders == ["a", "b"]
    paging: dict[str, int] = {}
    events = store._opened.result()._s3.meta.events
    events.register("provide-client-params.s3.ListObjectVersions", lambda params, **_: {**params, **paging})
    for size in range(1, 12):
        paging["MaxKeys"] = size
        assert list(store.list("")) == whole
        assert list(store.folders("")) == folders


# As whom.


def test_a_role_is_assumed_and_the_store_says_who_we_are(bucket: S3Bucket) -> None:
    plain, assumed = bucket.store(), bucket.store(role="arn:aws:iam::000000000000:role/journal-writer")
    assumed.create("entry", b"ours", within=SOON)
    assert content(plain, "entry") == [b"ours"]
    assert ":assumed-role/journal-writer/dr-journal" in assumed.caller(within=SOON)
    assert ":assumed-role/" not in plain.caller(within=SOON)


class StsAnswer(Answer):
    """STS has another form for a refusal than S3."""

    @property
    def body(self) -> bytes:
        return f"<ErrorResponse><Error><Code>{self.code}</Code></Error></ErrorResponse>".encode()


@pytest.mark.parametrize(
    "code, said",
    [
        ("AccessDenied", "the role cannot be assumed"),
        ("ExpiredToken", "the credentials have expired; log in to AWS again"),
    ],
)
def test_a_role_that_cannot_be_assumed_is_said(bucket: S3Bucket, proxy: Proxy, code: str, said: str) -> None:
    proxy.on(StsAnswer(403, code), method="POST", nth=ALWAYS)
    store = bucket.store(endpoint=proxy.endpoint, role="arn:aws:iam::000000000000:role/forbidden")
    with pytest.raises(StoreRefused, match=rf"{said} \(AssumeRole: {code}\)"):
        store.create("entry", b"ours", within=SOON)


def test_who_we_are_is_not_waited_for(store: S3Store, proxy: Proxy) -> None:
    proxy.on(Fault.HANG, method="POST")
    assert store.caller(within=0.2) == ""
    proxy.on(Answer(403, "AccessDenied"), method="POST", nth=ALWAYS)
    assert store.caller(within=SOON) == ""


def test_without_credentials_it_is_said_what_is_missing(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        credentials(monkeypatch),
        pytest.raises(StoreRefused, match="no credentials; log in to AWS, or name a `profile`"),
    ):
        bucket.store().create("entry", b"ours", within=SOON)


def test_a_login_that_has_run_out_is_said(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile night]\nsso_session = corp\nsso_account_id = 000000000000\nsso_role_name = operator\n"
        "[sso-session corp]\nsso_start_url = https://corp.example/start\nsso_region = eu-central-1\n"
    )
    with credentials(monkeypatch, AWS_CONFIG_FILE=str(config), HOME=str(tmp_path)):
        store = bucket.store(profile="night")
        with pytest.raises(StoreRefused, match="the credentials have expired; log in to AWS again"):
            store.create("entry", b"ours", within=SOON)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"profile": "nobody"}, "nobody"),
        ({"endpoint": "localhost"}, "localhost"),
        ({"region": "no region"}, "no region"),
    ],
)
def test_a_setting_that_cannot_work_is_said_at_the_first_call(
    bucket: S3Bucket, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(StoreRefused, match=said):
        bucket.store(**wrong).create("entry", b"ours", within=SOON)


def test_an_endpoint_that_does_not_speak_tls_is_said(bucket: S3Bucket, proxy: Proxy) -> None:
    store = bucket.store(endpoint=proxy.endpoint.replace("http:", "https:"))
    with pytest.raises(FateUnknown, match="no secure connection; look at the endpoint and its certificate"):
        store.create("entry", b"ours", within=0.0)


# The start of a process.


def test_a_store_costs_nothing_until_it_is_used() -> None:
    """Neither the module nor the settings load botocore."""
    loaded = "import sys, dr.audit.s3, dr.audit.place; sys.exit('botocore' in sys.modules)"
    subprocess.run([sys.executable, "-c", loaded], check=True)


def test_threads_may_share_a_store(bucket: S3Bucket) -> None:
    store = bucket.store()
    threads = [
        threading.Thread(target=store.create, args=(f"{number}", b"x"), kwargs={"within": SOON}) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.list(""))) == 8


def test_a_second_writer_is_told_through_any_network(bucket: S3Bucket, store: S3Store, proxy: Proxy) -> None:
    bucket.store().create("entry", b"theirs", within=SOON)
    proxy.on(Fault.RESET_BEFORE_REPLY, method="PUT")
    with pytest.raises(Taken, match="entry is there already"):
        store.create("entry", b"ours", within=SOON)
