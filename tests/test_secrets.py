"""Secrets are found at the moment of use and masked in everything that is written down (safety rule 13)."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.errors import SecretMissing
from dr.secrets import LARGEST, MASK, SHORTEST, Secrets

SECRET = "tr0ub4dor&3"


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


def test_a_secret_is_found_in_the_environment(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_TEST_SECRET", SECRET)
    assert secrets.resolve("env:DR_TEST_SECRET") == SECRET


def test_a_secret_is_found_in_a_file_without_the_newline_at_its_end(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    assert secrets.resolve(f"file:{tmp_path}/secret") == SECRET


def test_a_file_may_stand_in_the_home_directory(
    secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").write_text(SECRET)
    assert secrets.resolve("file:~/secret") == SECRET


def test_what_was_resolved_is_masked_from_then_on(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_TEST_SECRET", SECRET)
    assert secrets.mask(SECRET) == SECRET
    secrets.resolve("env:DR_TEST_SECRET")
    assert secrets.mask(f"password={SECRET} failed for {SECRET}") == f"password={MASK} failed for {MASK}"


def test_the_home_of_nobody_is_told(secrets: Secrets) -> None:
    with pytest.raises(SecretMissing, match="no such file or directory"):
        secrets.resolve("file:~nosuchuser/secret")


@pytest.mark.parametrize(
    "content, why", [(b"", "the file is empty"), (b"\n", "empty"), (b"\xff", "it is not utf-8 text")]
)
def test_a_file_without_a_secret_is_told(secrets: Secrets, tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SecretMissing, match=why) as missing:
        secrets.resolve(f"file:{tmp_path}/secret")
    assert missing.value.stands == "nothing was touched"


def test_a_file_that_is_too_large_for_a_secret_is_told_and_not_cut(secrets: Secrets, tmp_path: Path) -> None:
    """Safety rule 15. Half a key would be refused by the target, and nobody would know why."""
    (tmp_path / "secret").write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(SecretMissing, match="larger than"):
        secrets.resolve(f"file:{tmp_path}/secret")


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_file_that_cannot_be_read_is_told(secrets: Secrets, tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretMissing, match=r"no such file or directory|is a directory"):
        secrets.resolve(f"file:{tmp_path}/{name}")


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_told(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("DR_TEST_SECRET", raising=False)
    if value is not None:
        monkeypatch.setenv("DR_TEST_SECRET", value)
    with pytest.raises(SecretMissing, match="the secret env:DR_TEST_SECRET cannot be resolved: it is not set"):
        secrets.resolve("env:DR_TEST_SECRET")


def test_of_two_secrets_the_longer_one_is_masked_first(secrets: Secrets) -> None:
    """Else the end of the longer one would be left over."""
    secrets.remember("pass")
    secrets.remember("password")
    assert secrets.mask("password") == MASK


def test_a_very_short_secret_is_masked_only_where_it_stands_alone(secrets: Secrets) -> None:
    secrets.remember("a")
    assert secrets.mask("a banana") == "a banana"
    assert secrets.mask("a") == MASK


@given(
    st.lists(st.text(min_size=SHORTEST, max_size=8), min_size=1, max_size=4), st.lists(st.text(max_size=6), max_size=5)
)
def test_no_secret_is_left_in_any_text(values: list[str], between: list[str]) -> None:
    secrets = Secrets()
    for value in values:
        secrets.remember(value)
    text = "".join(part + value for part, value in zip([*between, ""], values * 3, strict=False))
    masked = secrets.mask(text)
    assert not any(value in masked for value in values if value not in MASK and not set(value) <= {"*"})


@pytest.mark.parametrize("value", ["back\\slash", 'it\'s "quoted"', "two\nlines", "ünïcödé", "bell\x07"])
def test_a_secret_is_masked_as_an_error_quotes_it(secrets: Secrets, value: str) -> None:
    secrets.remember(value)
    masked = secrets.mask(f"cannot use {value!r}, which is {[value]}")
    assert masked.count(MASK) == 2
    assert repr(value)[1:-1] not in masked


def test_secrets_may_be_found_and_masked_in_several_threads_at_once(secrets: Secrets) -> None:
    def remember(number: int) -> None:
        for at in range(200):
            secrets.remember(f"secret-{number}-{at}")
            secrets.mask("a text that is masked meanwhile")

    threads = [threading.Thread(target=remember, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(secrets.mask(f"secret-{number}-{at}") == MASK for number in range(4) for at in range(200))
