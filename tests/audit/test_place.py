"""Where a store may be, and what is refused before anything is sent."""

from typing import Any

import pytest

from dr.audit.place import Place, bucket_and_prefix


def test_an_address_has_a_bucket_and_perhaps_a_prefix() -> None:
    assert bucket_and_prefix("s3://journals") == ("journals", "")
    assert bucket_and_prefix("s3://journals/") == ("journals", "")
    assert bucket_and_prefix("s3://journals/teams/payments/") == ("journals", "teams/payments")


@pytest.mark.parametrize(
    "url", ["", "journals", "https://journals/x", "s3:journals", "s3:///x", "s3://a/b?c", "s3://a/b#c"]
)
def test_what_is_no_address_of_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not of the form s3://bucket/prefix"):
        bucket_and_prefix(url)


def test_a_place_has_the_name_that_messages_use() -> None:
    assert Place(bucket="journals", prefix="teams/payments").name == "s3://journals/teams/payments"
    assert Place(bucket="journals").name == "s3://journals"


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"bucket": "Journals"}, "'Journals' is not the name of a bucket"),
        ({"bucket": "j"}, "is not the name of a bucket"),
        ({"prefix": "zahlungsverkehr/büro"}, "has other characters than"),
        ({"prefix": "/a"}, "has other characters than"),
        ({"prefix": "a//b"}, "has other characters than"),
        ({"prefix": "a/../b"}, "has other characters than"),
        ({"prefix": "a b"}, "has other characters than"),
        ({"object_lock": "GOVERNANCE"}, "object_lock and retention go together"),
        ({"retention": 60.0}, "object_lock and retention go together"),
    ],
)
def test_a_place_that_s3_would_refuse_is_refused_at_once(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Place(**{"bucket": "journals", **settings})
