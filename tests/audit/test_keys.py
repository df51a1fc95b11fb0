"""What `dr.toml` may say of a key, and that each way leads to one."""

from pathlib import Path

import pytest

from dr.audit.keys import check_identity, check_key, open_key
from dr.errors import SigningFailed
from tests.keyring import Keyring, passphrase, ssh_agent

FINGERPRINT = "SHA256:" + "A" * 43


@pytest.mark.parametrize("text", [f"agent:{FINGERPRINT}", "file:~/.ssh/id_ed25519", "file:a b", "kms:alias/drills"])
def test_a_reference_to_a_key_passes(text: str) -> None:
    check_key(text)


@pytest.mark.parametrize(
    "text",
    ["", "agent:", "agent:alice", "agent:MD5:aa:bb", f"agent:{FINGERPRINT}=", "file:", "file: ", "kms:", "kms:a b",
     "id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----"],
)  # fmt: skip
def test_what_says_of_no_key_where_it_is_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write agent:SHA256:FINGERPRINT"):
        check_key(text)


@pytest.mark.parametrize("text", ["alice@example.org", "drills", "büro@example.org"])
def test_an_identity_passes(text: str) -> None:
    check_identity(text)


@pytest.mark.parametrize("text", ["", "a b", "a,b", "*@example.org", "a?", "!a", "#a", '"a"', "a\\b", "a\n", "a" * 201])
def test_what_is_a_pattern_or_no_word_is_no_identity(text: str) -> None:
    """As a principal it would mean more than one person, or nobody."""
    with pytest.raises(ValueError, match="is no identity"):
        check_identity(text)


def test_a_relative_file_is_meant_from_the_folder(keyring: Keyring) -> None:
    key = open_key("file:alice", keyring.folder, passphrase)
    assert key.public == keyring.key("alice").public


def test_an_absolute_file_and_one_at_home_are_found(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(keyring.folder))
    for reference in (f"file:{keyring.path('bob')}", "file:~/bob"):
        assert open_key(reference, Path("/nowhere"), passphrase).public == keyring.key("bob").public


def test_a_file_in_the_home_of_nobody_is_told(tmp_path: Path) -> None:
    with pytest.raises(SigningFailed, match="~nosuchuser/id cannot be read"):
        open_key("file:~nosuchuser/id", tmp_path, passphrase)


def test_an_agent_is_asked_for_its_key(keyring: Keyring, tmp_path: Path) -> None:
    public = keyring.key("alice").public
    with ssh_agent(tmp_path, [keyring.path("alice")]):
        assert open_key(f"agent:{public.fingerprint}", tmp_path, passphrase).public == public


def test_kms_is_asked_for_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SigningFailed, match="kms:alias/none cannot be used: You must specify a region"):
        open_key("kms:alias/none", tmp_path, passphrase)
