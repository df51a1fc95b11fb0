"""Only fields that are marked, and given, are found."""

from typing import Annotated

import msgspec

from dr.core.marks import marked_texts

Place = Annotated[str, msgspec.Meta(min_length=1, extra={"place": True})]


class Configured(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    number: int
    at: Place
    aside: Place | None = None
    others: dict[str, Place] = {}
    elsewhere: Annotated[str, msgspec.Meta(extra={"another mark": True})] = "/far"


def test_each_marked_field_is_found_whether_it_may_be_left_out_or_there_are_several_by_name() -> None:
    config = Configured("a", 1, at="/here", aside="/there", others={"x": "/x", "y": "/y"})
    found = [("at", "/here"), ("aside", "/there"), ("others", "/x"), ("others", "/y")]
    assert list(marked_texts(config, "place")) == found


def test_a_marked_field_that_was_not_given_is_passed_over() -> None:
    assert list(marked_texts(Configured("a", 1, at="/here"), "place")) == [("at", "/here")]
