"""Who is who: what the file says, and that OpenSSH reads it as we do."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.audit.allowed_signers import LineWrong, matches, parse
from dr.audit.signature import NAMESPACE, PublicKey, armour, to_be_signed
from dr.audit.wire import string
from tests.keyring import Keyring, asked, identity

NOON = datetime(2023, 5, 15, 12, tzinfo=UTC).timestamp()
MESSAGE = b"a checkpoint"


def openssh_accepts(text: str, keyring: Keyring, folder: Path, who: str, at: float) -> bool:
    """Whether `ssh-keygen` takes alice's signature, made for `who` at that time."""
    key = keyring.key("alice")
    (folder / "allowed").write_text(text)
    (folder / "sig").write_text(armour(key.public, key.sign(to_be_signed(MESSAGE))))
    when = datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M%S")
    options = ("-n", NAMESPACE, "-f", str(folder / "allowed"), "-s", str(folder / "sig"), "-I", who)
    accepted, said = asked("-Y", "verify", *options, "-O", f"verify-time={when}", message=MESSAGE)
    assert accepted or "Could not verify" in said
    return accepted


LINES: dict[str, tuple[str, bool]] = {
    "plain": ("alice@example.org KEY", True),
    "comment behind the key": ("alice@example.org KEY alice's laptop", True),
    "lines around it": ("# who is who\n\n  \nmallory@example.org OTHER\n alice@example.org KEY\n", True),
    "quoted principals": ('"alice@example.org" KEY', True),
    "tabs": ("alice@example.org\t\tKEY", True),
    "one of several": ("bob@example.org,alice@example.org KEY", True),
    "pattern": ("*@example.org KEY", True),
    "pattern of one character": ("alic?@example.org KEY", True),
    "pattern that refuses": ("*@example.org,!alice@* KEY", False),
    "pattern that refuses somebody else": ("!bob@*,*@example.org KEY", True),
    "brackets are no pattern": ("[a]lice@example.org KEY", False),
    "another person's": ("bob@example.org KEY", False),
    "another case": ("Alice@example.org KEY", False),
    "another key": ("alice@example.org OTHER", False),
    "namespace": (f'alice@example.org namespaces="{NAMESPACE}" KEY', True),
    "namespaces": ('alice@example.org namespaces="git,dr-*" KEY', True),
    "other namespace": ('alice@example.org namespaces="git" KEY', False),
    "namespace refused": ('alice@example.org namespaces="*,!dr-*" KEY', False),
    "option in capitals": ('alice@example.org NAMESPACES="git" KEY', False),
    "after": ('alice@example.org valid-after="20230515Z" KEY', True),
    "after, to the second": ('alice@example.org valid-after="20230515120000Z" KEY', True),
    "a second too early": ('alice@example.org valid-after="20230515120001Z" KEY', False),
    "before, to the second": ('alice@example.org valid-before="20230515120000Z" KEY', True),
    "a second too late": ('alice@example.org valid-before="20230515115959Z" KEY', False),
    "before, to the minute": ('alice@example.org valid-before="202305151159Z" KEY', False),
    "times without a zone": ('alice@example.org valid-after="20230515",valid-before="202305151201" KEY', True),
    "all options": (f'alice@example.org namespaces="{NAMESPACE}",valid-before="20240101Z" KEY', True),
    "the second line allows it": ('alice@example.org valid-before="20200101" KEY\nalice@example.org KEY', True),
    "no line": ("", False),
}


@pytest.mark.parametrize("text, accepted", LINES.values(), ids=LINES)
def test_a_line_means_what_it_means_to_openssh(text: str, accepted: bool, keyring: Keyring, tmp_path: Path) -> None:
    keys = {"KEY": keyring.key("alice").public.line, "OTHER": keyring.key("mallory").public.line}
    for word, line in keys.items():
        text = text.replace(word, line)
    refusal = parse(text).refusal(keyring.key("alice").public, identity("alice"), NOON)
    assert (refusal == "") == accepted, refusal
    assert openssh_accepts(text, keyring, tmp_path, identity("alice"), NOON) == accepted


def test_a_fraction_of_a_second_does_not_expire_a_key(keyring: Keyring) -> None:
    """As for OpenSSH, which knows no fractions."""
    signers = parse(keyring.line("alice", 'valid-before="20230515120000Z"'))
    assert signers.refusal(keyring.key("alice").public, identity("alice"), NOON + 0.9) == ""
    assert signers.refusal(keyring.key("alice").public, identity("alice"), NOON + 1.0) != ""


def refusal(keyring: Keyring, options: str = "", who: str = "alice") -> str:
    return parse(keyring.line("alice", options)).refusal(keyring.key(who).public, identity(who), NOON)


def test_a_refusal_says_why(keyring: Keyring) -> None:
    fingerprint = keyring.key("alice").public.fingerprint
    assert "is not in allowed_signers" in refusal(keyring, who="mallory")
    bobs = parse(keyring.line("alice", who="bob@example.org")).refusal(keyring.key("alice").public, "alice@x", NOON)
    assert bobs == f"the key {fingerprint} is the one of bob@example.org, not of alice@x"
    assert refusal(keyring, 'namespaces="git"').endswith("is not allowed for checkpoints (its namespaces: git)")
    assert refusal(keyring, 'valid-after="20300101Z"').endswith("not yet valid then (valid-after 2030-01-01T00:00:00Z)")
    assert refusal(keyring, 'valid-before="20200101"').endswith("had expired then (valid-before 2020-01-01T00:00:00Z)")


WRONG = {
    "alice@example.org": "a line is: principals, options if any, the key's type, the key",
    "alice@example.org cert-authority KEY": "cert-authority is not supported: name the key itself",
    'alice@example.org namespaces="git",cert-authority KEY': "cert-authority is not supported",
    "alice@example.org CERT-AUTHORITY KEY": "cert-authority is not supported",
    "alice@example.org no-touch-required KEY": "'no-touch-required' is no option with a value",
    "alice@example.org namespaces KEY": "'namespaces' is no option with a value",
    'alice@example.org namespaces="" KEY': "is no option with a value",
    "alice@example.org namespaces=git KEY": "is no option with a value",
    'alice@example.org namespaces="a",namespaces="b" KEY': "namespaces is given twice",
    'alice@example.org valid-after="tomorrow" KEY': "'tomorrow' is not a time; write 20270101Z",
    'alice@example.org valid-after="20231301Z" KEY': "'20231301Z' is not a time",
    'alice@example.org valid-before="\u0662\u0660\u0662\u0667\u0660\u0661\u0660\u0661" KEY': "is not a time",
    "alice@example.org ssh-ed25519": "the key of the type 'ssh-ed25519' cannot be read",
    "alice@example.org ssh-ed25519 AAAA!": "cannot be read",
    "alice@example.org ssh-ed25519 AAAA": "cannot be read",
    "alice@example.org ssh-rsa OTHERTYPE": "the key of the type 'ssh-rsa' cannot be read",
}


@pytest.mark.parametrize("line, why", WRONG.items(), ids=list(WRONG))
def test_a_line_that_is_not_understood_is_refused_by_its_number(line: str, why: str, keyring: Keyring) -> None:
    line = line.replace("OTHERTYPE", keyring.key("alice").public.line.split()[1])
    line = line.replace(" KEY", f" {keyring.key('alice').public.line}")
    with pytest.raises(LineWrong) as refused:
        parse(f"# first\n{line}\n")
    assert refused.value.line == 2
    assert why in refused.value.why


def test_keys_of_types_that_do_not_sign_here_may_stand_in_the_file(keyring: Keyring) -> None:
    """The file may be the one that git uses too."""
    security_key = PublicKey(string(b"sk-ssh-ed25519@openssh.com") + string(b"k" * 32) + string(b"ssh:"))
    assert len(parse(f"zoe@example.org {security_key.line}\n{keyring.line('alice')}").lines) == 2


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except LineWrong as error:
        lines = error.line
    else:
        lines = len(found.lines) or 1
    assert 1 <= lines <= text.count("\n") + 1


@given(st.text("ab*?!.,[]", max_size=8), st.text("ab.", max_size=6))
def test_any_pattern_is_answered(patterns: str, text: str) -> None:
    assert matches(text, patterns) in {True, False}


def test_the_file_is_kept_as_it_was(keyring: Keyring) -> None:
    assert parse(keyring.allowed).text == keyring.allowed
