"""What every store must do: one contract for the store in memory, which other tests stand on, and for S3."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from threading import Barrier

import pytest

from dr.audit.store import Store, Stored, StoreRefused, Taken
from localstack.instance import CREDENTIALS, LocalStack
from tests import memory_store
from tests.localstack_fixture import create_buckets
from tests.s3_world import S3Bucket, credentials

SOON = 30.0
Bucket = memory_store.Bucket | S3Bucket


@pytest.fixture(params=["memory", "S3"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Without a lock on objects: what a lock would refuse can be done here too."""
    if request.param == "memory":
        with memory_store.Bucket() as memory:
            yield memory
        return
    localstack: LocalStack = request.getfixturevalue("localstack")
    with credentials(monkeypatch, **CREDENTIALS):
        yield S3Bucket(localstack, create_buckets(localstack, locked=False).home)


@pytest.fixture
def store(bucket: Bucket) -> Store:
    return bucket.store()


def only(store: Store, prefix: str) -> Stored:
    (stored,) = store.list(prefix)
    return stored


def test_what_was_created_is_read_back(store: Store) -> None:
    store.create("a/plan.json", b"{}\n", within=SOON)
    stored = only(store, "a/")
    assert (stored.key, stored.size, stored.later, stored.deleted) == ("a/plan.json", 3, 0, 0)
    assert stored.md5 == md5(b"{}\n", usedforsecurity=False).hexdigest()
    assert store.read(stored) == b"{}\n"


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.create("empty", b"", within=SOON)
    assert store.read(only(store, "empty")) == b""


def test_a_second_writer_is_told_and_changes_nothing(bucket: Bucket) -> None:
    bucket.store().create("entry", b"ours", within=SOON)
    there = bucket.store()
    with pytest.raises(Taken):
        there.create("entry", b"theirs", within=SOON)
    stored = only(there, "entry")
    assert there.read(stored) == b"ours"
    assert (stored.later, stored.deleted) == (0, 0)


def test_of_many_who_create_one_object_exactly_one_wins(bucket: Bucket) -> None:
    stores = [bucket.store() for _ in range(8)]
    start = Barrier(len(stores))

    def create(number: int) -> bool:
        start.wait()
        try:
            stores[number].create("entry", str(number).encode(), within=SOON)
        except Taken:
            return False
        return True

    with ThreadPoolExecutor(len(stores)) as pool:
        won = list(pool.map(create, range(len(stores))))
    assert won.count(True) == 1
    assert stores[0].read(only(stores[0], "entry")) == str(won.index(True)).encode()


def test_a_creation_may_be_repeated_with_the_same_bytes(store: Store) -> None:
    store.create("entry", b"ours", within=SOON)
    store.create("entry", b"ours", within=SOON)
    assert only(store, "entry").later == 0


def test_the_same_bytes_under_another_key_are_not_taken_for_ones_own(store: Store) -> None:
    store.create("entry", b"theirs", within=SOON)
    store.create("entry-2", b"ours", within=SOON)
    with pytest.raises(Taken):
        store.create("entry", b"ours", within=SOON)


def test_readers_get_the_first_version_whatever_is_put_on_top(bucket: Bucket, store: Store) -> None:
    store.create("entry", b"first", within=SOON)
    bucket.put("entry", b"second")
    bucket.mark_deleted("entry")
    bucket.put("entry", b"the third version")
    bucket.mark_deleted("entry")
    stored = only(store, "entry")
    assert (stored.later, stored.deleted, stored.size) == (2, 2, 5)
    assert store.read(stored) == b"first"


def test_a_writer_is_compared_with_the_first_version_and_not_with_what_was_put_on_top(
    bucket: Bucket, store: Store
) -> None:
    store.create("entry", b"ours", within=SOON)
    bucket.put("entry", b"theirs")
    store.create("entry", b"ours", within=SOON)
    with pytest.raises(Taken):
        store.create("entry", b"theirs", within=SOON)


def test_behind_a_delete_marker_a_second_creation_succeeds_and_a_listing_shows_it(bucket: Bucket) -> None:
    """The hole in the fence (safety rule 7): whoever may delete can open it, not unseen."""
    ours, theirs = bucket.store(), bucket.store()
    ours.create("entry", b"ours", within=SOON)
    bucket.mark_deleted("entry")
    theirs.create("entry", b"theirs", within=SOON)
    stored = only(theirs, "entry")
    assert (stored.later, stored.deleted) == (1, 1)
    assert theirs.read(stored) == b"ours"


def test_an_object_of_which_only_a_delete_marker_is_left_is_listed_and_cannot_be_read(
    bucket: Bucket, store: Store
) -> None:
    store.create("entry", b"first", within=SOON)
    bucket.remove("entry")
    bucket.mark_deleted("entry")
    stored = only(store, "entry")
    assert stored == Stored(key="entry", version="", deleted=1)
    with pytest.raises(StoreRefused, match="entry"):
        store.read(stored)


def test_an_object_that_was_removed_after_it_was_listed_is_refused_by_name(bucket: Bucket, store: Store) -> None:
    store.create("entry", b"first", within=SOON)
    stored = only(store, "entry")
    bucket.remove("entry")
    with pytest.raises(StoreRefused, match="entry"):
        store.read(stored)


def test_a_listing_is_by_key_and_holds_what_begins_with_the_prefix(store: Store) -> None:
    for key in ("b/1", "a/10", "a/2", "a-b", "ab/c", "a/1"):
        store.create(key, key.encode(), within=SOON)
    assert [stored.key for stored in store.list("a/")] == ["a/1", "a/10", "a/2"]
    assert [stored.key for stored in store.list("")] == ["a-b", "a/1", "a/10", "a/2", "ab/c", "b/1"]
    assert [stored.key for stored in store.list("c")] == []
    assert [store.read(stored) for stored in store.list("a/1")] == [b"a/1", b"a/10"]


def test_a_listing_may_begin_behind_a_key(bucket: Bucket, store: Store) -> None:
    for key in ("a/1", "a/2", "a/3"):
        store.create(key, b"", within=SOON)
        bucket.put(key, b"on top")
    whole = list(store.list("a/"))
    assert list(store.list("a/", after="a/1")) == whole[1:]
    assert list(store.list("a/", after="a/11")) == whole[1:]
    assert list(store.list("a/", after="a/3")) == []
    assert list(store.list("a/", after="a")) == whole


def test_folders_are_named_once_also_when_all_in_them_is_hidden(bucket: Bucket, store: Store) -> None:
    for key in ("runs/a/plan.json", "runs/a/entries/1", "runs/b/plan.json", "runs/file", "locks/x/1"):
        store.create(key, b"", within=SOON)
    bucket.mark_deleted("runs/b/plan.json")
    assert list(store.folders("runs/")) == ["a", "b"]
    assert list(store.folders("runs/a/")) == ["entries"]
    assert list(store.folders("nothing/")) == []


def test_a_store_has_a_name_for_messages_and_says_who_it_takes_us_for(store: Store) -> None:
    assert store.name.startswith("s3://")
    assert store.caller(within=SOON).startswith("arn:aws:")
