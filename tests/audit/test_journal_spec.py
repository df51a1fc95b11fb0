"""`[journal]` of `dr.toml`: what it may say, and what is wrong in it at a place that is named."""

from pathlib import Path

import pytest

from dr.audit.journal_spec import place_of
from dr.audit.place import Place
from dr.core.duration import Duration
from dr.environment import load_config
from dr.errors import RunbookWrong

ENVIRONMENT = '[environments.shop.targets.flags]\ntype = "flagd-file"\npath = "flags.json"\n'


def load(folder: Path, text: str) -> Path:
    path = folder / "dr.toml"
    path.write_text(f"[journal]\n{text}\n{ENVIRONMENT}", encoding="utf-8")
    return path


def test_without_a_home_there_are_no_places(tmp_path: Path) -> None:
    assert load_config(load(tmp_path, "")).places is None


def test_everything_that_is_said_of_the_home_arrives(tmp_path: Path) -> None:
    text = """
        home = "s3://journals/prod/eu"
        region = "eu-central-1"
        endpoint = "http://127.0.0.1:4566"
        profile = "ops"
        role = "arn:aws:iam::000000000000:role/journal"
        storage_class = "STANDARD_IA"
        kms_key = "alias/journal"
        object_lock = "COMPLIANCE"
        retention = "90d"
    """
    places = load_config(load(tmp_path, text)).places
    assert places is not None
    assert places.mirrors == ()
    assert places.home == Place(
        bucket="journals",
        prefix="prod/eu",
        region="eu-central-1",
        endpoint="http://127.0.0.1:4566",
        profile="ops",
        role="arn:aws:iam::000000000000:role/journal",
        storage_class="STANDARD_IA",
        kms_key="alias/journal",
        object_lock="COMPLIANCE",
        retention=Duration(90 * 86400),
    )


def test_a_mirror_is_as_the_home_but_for_what_belongs_to_a_region_and_what_it_says(tmp_path: Path) -> None:
    text = """
        home = "s3://journals"
        region = "eu-central-1"
        kms_key = "alias/journal"
        endpoint = "http://127.0.0.1:4566"
        profile = "ops"
        mirrors = ["s3://mirror", {url = "s3://other/x", region = "us-east-1", profile = "other"}]
    """
    places = load_config(load(tmp_path, text)).places
    assert places is not None
    assert places.mirrors == (
        Place(bucket="mirror", endpoint="http://127.0.0.1:4566", profile="ops"),
        Place(bucket="other", prefix="x", region="us-east-1", endpoint="http://127.0.0.1:4566", profile="other"),
    )


@pytest.mark.parametrize(
    "text, place, what",
    [
        ('home = "https://journals"', "2:1", "is not of the form s3://bucket/prefix"),
        ('home = "s3://Journals"', "2:1", "'Journals' is not the name of a bucket"),
        ('directory = "x"\nhome = "s3://journals"\nobject_lock = "COMPLIANCE"', "3:1", "go together"),
        ('region = "eu-central-1"', "2:1", "'region' is about the journal's home, and there is none"),
        ('mirrors = ["s3://mirror"]', "2:1", "'mirrors' is about the journal's home, and there is none"),
        ('home = "s3://journals"\nmirrors = ["mirror"]', "3:1", "'mirror' is not of the form"),
        ('home = "s3://journals"\nmirrors = ["s3://mirror", "s3://mirror/"]', "3:1", "s3://mirror is named twice"),
        ('home = "s3://journals"\nmirrors = ["s3://journals"]', "3:1", "s3://journals is named twice"),
        ('home = "s3://journals"\nretention = "30"', "3:1", "is not a duration"),
        ('home = "s3://journals"\nobject_lock = "HARD"', "3:1", "unknown value 'HARD'"),
        ('hom = "s3://journals"', "2:1", "did you mean 'home'?"),
    ],
)
def test_what_is_wrong_is_named_at_its_place(text: str, place: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(RunbookWrong) as caught:
        load_config(load(tmp_path, text))
    assert f"dr.toml:{place}: " in caught.value.what
    assert what in caught.value.what


def test_a_table_of_a_mirror_is_placed_too(tmp_path: Path) -> None:
    path = load(tmp_path, 'home = "s3://journals"\n[[journal.mirrors]]\nurl = "s3://m"\nregoin = "eu-west-1"')
    with pytest.raises(RunbookWrong, match="did you mean 'region'"):
        load_config(path)


def test_a_home_that_is_named_on_the_command_line() -> None:
    assert place_of("s3://journals/x/", region="eu-central-1", endpoint=None) == Place(
        bucket="journals", prefix="x", region="eu-central-1"
    )
    with pytest.raises(ValueError, match="is not of the form"):
        place_of("journals")
