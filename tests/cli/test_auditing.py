"""Who did it, on the command line: signed runs, what becomes of them when a key is gone, and the evidence of them."""

import base64
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from localstack.instance import LocalStack
from tests.cli.shell import (
    GOOD,
    PATIENCE,
    RUN,
    SHOP,
    Outcome,
    command,
    dr,
    environment,
    flags_off,
    journal,
    locked,
    refused,
    started,
    types,
    until,
)
from tests.keyring import Keyring, identity, ssh_agent, ssh_keygen

PAUSING = GOOD + "  - {id: sure, kind: operator.confirm, with: {question: go on?}}\n"


def signing(keyring: Keyring, name: str = "alice", key: str = "", more: str = "") -> str:
    """`[signing]` in `dr.toml`."""
    where = key or f"file:{keyring.path(name)}"
    return f'[signing]\nkey = "{where}"\nidentity = "{identity(name)}"\nallowed_signers = "allowed_signers"\n{more}'


def sign_as(folder: Path, keyring: Keyring, name: str = "alice", **given: str) -> None:
    (folder / "dr.toml").write_text(SHOP + signing(keyring, name, **given))
    (folder / "allowed_signers").write_text(keyring.allowed)


@pytest.fixture
def signed(folder: Path, keyring: Keyring) -> Path:
    """A folder whose runs alice signs with the key in her file."""
    sign_as(folder, keyring)
    return folder


def checkpoints(folder: Path) -> list[dict[str, str | int]]:
    [path] = folder.glob("journal/runs/*/checkpoints.jsonl")
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def run_of(folder: Path) -> str:
    [path] = folder.glob("journal/runs/*")
    return path.name


def actors(folder: Path) -> list[str]:
    [path] = folder.glob("journal/runs/*/journal.jsonl")
    return [msgspec.json.decode(line)["actor"] for line in path.read_bytes().splitlines()]


def well(seen: Outcome) -> str:
    assert seen.status == 0, seen.err
    return seen.out


# A signed run


def test_a_run_is_signed_at_its_start_and_its_end_and_that_is_verified(signed: Path, keyring: Keyring) -> None:
    said = well(dr(signed, *RUN))
    assert (
        f"Signed by alice@example.org (file:{keyring.path('alice')}): at the start, at each pause and at the end"
        in said
    )
    assert set(actors(signed)) == {identity("alice")}
    assert [mark["size"] for mark in checkpoints(signed)] == [1, len(actors(signed))]
    verified = well(dr(signed, "audit", "verify", "latest")).splitlines()
    key = keyring.key("alice").public.fingerprint
    assert verified[0].endswith("; signed")
    assert verified[1].startswith("  entry 0: signed by alice@example.org at 20")
    assert verified[2].startswith(f"  entries 1-{len(actors(signed)) - 1}: signed by alice@example.org at 20")
    assert all(line.endswith(f"Z ({key})") for line in verified[1:])
    assert f"Signed by alice@example.org ({key})" in well(dr(signed, "show", "latest"))


def test_a_plan_says_who_signs(signed: Path, folder: Path) -> None:
    assert "\nSigned by alice@example.org (file:" in well(dr(signed, "plan", "good.yaml", "--env", "shop"))
    (folder / "dr.toml").write_text(SHOP)
    assert "\nUnsigned: the journal proves" in well(dr(folder, "plan", "good.yaml", "--env", "shop"))


def test_a_pause_is_signed_and_somebody_else_signs_what_follows(signed: Path, keyring: Keyring) -> None:
    (signed / "good.yaml").write_text(PAUSING)
    assert dr(signed, *RUN).status == 5
    size = len(actors(signed))
    assert [mark["size"] for mark in checkpoints(signed)] == [1, size]
    sign_as(signed, keyring, "bob")
    well(dr(signed, "answer", "latest", "yes"))
    assert [mark["actor"] for mark in checkpoints(signed)] == [
        identity(name) for name in ("alice", "alice", "bob", "bob")
    ]
    assert set(actors(signed)[size:]) == {identity("bob")}
    assert f"entry {size}: signed by bob@example.org" in well(dr(signed, "audit", "verify", "latest"))


def test_an_agent_signs(folder: Path, keyring: Keyring, tmp_path: Path) -> None:
    sign_as(folder, keyring, "bob", key=f"agent:{keyring.key('bob').public.fingerprint}")
    with ssh_agent(tmp_path, [keyring.path("bob")]):
        well(dr(folder, *RUN, SSH_AUTH_SOCK=os.environ["SSH_AUTH_SOCK"]))
    assert ": signed by bob@example.org at " in well(dr(folder, "audit", "verify", "latest"))


def test_a_drill_is_signed_by_a_key_in_kms_and_verified_without_it(
    folder: Path, keyring: Keyring, localstack: LocalStack, tmp_path: Path
) -> None:
    kms = localstack.client("kms")
    arn = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    told = kms.get_public_key(KeyId=arn)["PublicKey"]
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.encodebytes(told).decode()}-----END PUBLIC KEY-----\n"
    (tmp_path / "key.pem").write_text(pem)
    line = ssh_keygen("-i", "-m", "PKCS8", "-f", str(tmp_path / "key.pem")).strip()
    sign_as(folder, keyring, key=f"kms:{arn}")
    assert "is not in allowed_signers" in refused(folder, *RUN, status=23, **localstack.environment)
    (folder / "allowed_signers").write_text(f"{identity('alice')} {line}\n")
    well(dr(folder, *RUN, **localstack.environment))
    verified = well(dr(folder, "audit", "verify", "latest"))  # with nothing that leads to AWS
    assert verified.count(": signed by alice@example.org at ") == 2


def test_a_passphrase_is_found_by_its_reference_and_written_nowhere(folder: Path, keyring: Keyring) -> None:
    shutil.copy(keyring.path("alice"), folder / "key")
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", folder / "key"], check=True, capture_output=True
    )
    sign_as(folder, keyring, key="file:key", more='passphrase = "env:OPENER"\n')
    assert "[secret-missing]" in refused(folder, *RUN, status=15)
    assert "its passphrase is wrong" in refused(folder, *RUN, status=23, OPENER="open barley")
    seen = dr(folder, *RUN, "--reason", "open sesame", OPENER="open sesame")
    assert seen.status == 0, seen.err
    for path in folder.glob("journal/runs/*/*"):
        assert b"open sesame" not in path.read_bytes()
    sign_as(folder, keyring, key="file:key")
    assert "has a passphrase" in refused(folder, *RUN, status=23)


def test_an_unsigned_run_pays_nothing_for_signatures(folder: Path) -> None:
    code = (
        "import sys\nfrom dr.cli.main import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(sorted({'cryptography', 'paramiko', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *RUN],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert flags_off(folder) == {"search"}
    assert done.stdout.splitlines()[-1] == "[]"


# A key that is gone


def test_a_key_that_cannot_be_used_stops_before_there_is_a_run(folder: Path, keyring: Keyring) -> None:
    sign_as(folder, keyring, key="file:none")
    assert "signing key" in refused(folder, *RUN, status=23)
    sign_as(folder, keyring, key=f"agent:{keyring.key('alice').public.fingerprint}")
    told = refused(folder, *RUN, status=23)
    assert "SSH_AUTH_SOCK is not set" in told
    assert "next:   eval $(ssh-agent) && ssh-add   (to go without a signature: add --unsigned REASON)" in told
    sign_as(folder, keyring, "mallory")
    told = refused(folder, *RUN, status=23)
    assert "is not in allowed_signers" in told
    assert (
        f'the line is: mallory@example.org namespaces="dr-checkpoint@dr-runbooks" {keyring.line("mallory")[20:]}'
        in told
    )


@contextmanager
def refusing_agent(folder: Path, keyring: Keyring) -> Iterator[str]:
    """An agent that asks a person each time, who says no."""
    for name, value in (("SSH_ASKPASS", "/bin/false"), ("SSH_ASKPASS_REQUIRE", "force"), ("DISPLAY", ":0")):
        os.environ[name] = value
    try:
        with ssh_agent(folder, []):
            subprocess.run(["ssh-add", "-q", "-c", keyring.path("alice")], check=True, stdin=subprocess.DEVNULL)
            yield os.environ["SSH_AUTH_SOCK"]
    finally:
        for name in ("SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY"):
            os.environ.pop(name)


def test_a_signature_refused_at_the_start_stops_before_the_first_effect(
    folder: Path, keyring: Keyring, tmp_path: Path
) -> None:
    """The run can be gone on with, unsigned if need be: the operator says so, and why."""
    sign_as(folder, keyring, key=f"agent:{keyring.key('alice').public.fingerprint}")
    with refusing_agent(tmp_path, keyring) as agent:
        seen = dr(folder, *RUN, SSH_AUTH_SOCK=agent)
        assert seen.status == 23
        assert "refuses to sign" in seen.err
        assert f"next:   dr resume {run_of(folder)}   (--unsigned REASON goes on without a signature)" in seen.err
        assert types(folder) == ["run-started"]
        assert flags_off(folder) == set()
        assert dr(folder, "resume", "latest", SSH_AUTH_SOCK=agent).status == 23
        assert types(folder) == ["run-started", "run-resumed"]
    well(dr(folder, "resume", "latest", "--unsigned", "the agent is broken"))
    assert flags_off(folder) == {"search"}
    assert journal(folder)[2]["unsigned"] == "the agent is broken"
    seen = dr(folder, "audit", "verify", "latest")
    assert seen.status == 21
    assert "behind no signature, only behind the chain (the run says why: the agent is broken)" in seen.err


def test_an_agent_that_dies_meanwhile_does_not_stop_a_recovery(folder: Path, keyring: Keyring, tmp_path: Path) -> None:
    """The last checkpoint is unsigned, that is said loudly, and it can be signed later."""
    sign_as(folder, keyring, key=f"agent:{keyring.key('alice').public.fingerprint}")
    with locked(folder / "flags.json"), ssh_agent(tmp_path, [keyring.path("alice")]):
        process = subprocess.Popen(
            command(*RUN), cwd=folder, env=environment(folder, SSH_AUTH_SOCK=os.environ["SSH_AUTH_SOCK"]),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until(lambda: "apply-started" in types(folder))
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert flags_off(folder) == {"search"}
    size = len(actors(folder))
    assert f"NOT SIGNED: the checkpoint at {size} entries: the SSH agent cannot be reached" in said
    assert checkpoints(folder)[-1]["unsigned"] == "the SSH agent cannot be reached: No such file or directory"
    seen = dr(folder, "audit", "verify", "latest")
    assert seen.status == 21
    assert f"entries 1-{size - 1}: behind no signature" in seen.err
    assert seen.err.endswith(f"next:   dr audit sign {run_of(folder)}\n")
    assert (
        f"or if it has not ended: dr resume {run_of(folder)}"
        in dr(folder, "audit", "verify", "latest", "--no-replay").err
    )
    sign_as(folder, keyring)
    assert "signed by alice@example.org" in well(dr(folder, "audit", "sign", "latest"))
    well(dr(folder, "audit", "verify", "latest"))


def test_a_run_killed_after_its_start_is_incomplete_until_somebody_goes_on(signed: Path) -> None:
    with started(signed, *RUN) as process, locked(signed / "flags.json"):
        until(lambda: "apply-started" in types(signed))
        process.kill()
        process.wait()
    seen = dr(signed, "audit", "verify", "latest")
    assert seen.status == 21
    assert seen.err.endswith(f"next:   dr resume {run_of(signed)}\n")
    well(dr(signed, "resume", "latest"))
    assert "signed" in well(dr(signed, "audit", "verify", "latest"))


# Going on with a signed run


def test_a_signed_run_is_not_gone_on_with_unsigned_unawares(signed: Path) -> None:
    (signed / "good.yaml").write_text(PAUSING)
    assert dr(signed, *RUN).status == 5
    (signed / "dr.toml").write_text(SHOP)
    before = types(signed)
    seen = dr(signed, "answer", "latest", "yes")
    assert seen.status == 23
    assert "is signed by alice@example.org (SHA256:" in seen.err
    assert types(signed) == before
    well(dr(signed, "answer", "latest", "yes", "--unsigned", "this machine has no key"))
    assert dr(signed, "audit", "verify", "latest").status == 21


def test_who_signs_does_not_go_on_from_what_was_forged(signed: Path) -> None:
    """The chain alone would let it pass: mallory has recomputed it, and made a checkpoint that fits."""
    (signed / "good.yaml").write_text(PAUSING)
    assert dr(signed, *RUN).status == 5
    [path] = signed.glob("journal/runs/*/checkpoints.jsonl")
    path.write_text(path.read_text().replace('"at":"20', '"at":"19', 1))
    before = types(signed)
    seen = dr(signed, "resume", "latest")
    assert seen.status == 10
    assert "checkpoint 1, of alice@example.org at size 1: its signature is not good" in seen.err
    assert types(signed) == before


def test_unsigned_by_choice_is_an_entry(signed: Path) -> None:
    said = well(dr(signed, *RUN, "--unsigned", "a drill on a laptop"))
    assert "\nUnsigned: the journal proves" in said
    assert "UNSIGNED: a drill on a laptop" in said
    assert journal(signed)[0]["unsigned"] == "a drill on a laptop"
    assert dr(signed, "audit", "verify", "latest").status == 21
    assert well(dr(signed, "audit", "verify", "latest", "--allow-unsigned")).rstrip().endswith("; unsigned")


# What is wrong in dr.toml


@pytest.mark.parametrize(
    "field, value, told",
    [
        ("key", "id_ed25519", "dr.toml:5:1: 'id_ed25519' says of no key where it is; write agent:SHA256:"),
        ("identity", "*@example.org", "dr.toml:6:1: '*@example.org' is no identity"),
        ("allowed_signers", "", "dr.toml:7:1: "),
        (
            "passphrase",
            "open sesame",
            "dr.toml:8:1: passphrase: write where the secret stands, env:NAME, file:PATH, aws-secret:ID or ssm:NAME",
        ),
        ("colour", "blue", "dr.toml:8:1: unknown field 'colour'"),
    ],
)
def test_what_is_wrong_in_signing_is_placed(field: str, value: str, told: str, folder: Path, keyring: Keyring) -> None:
    text = SHOP + signing(keyring)
    kept = [line for line in text.splitlines() if not line.startswith(f"{field} =")]
    at = {"key": 4, "identity": 5, "allowed_signers": 6}.get(field, len(kept))
    (folder / "dr.toml").write_text("\n".join([*kept[:at], f'{field} = "{value}"', *kept[at:]]) + "\n")
    seen = refused(folder, *RUN, status=8)
    assert told in seen
    assert "open sesame" not in seen


def test_a_wrong_line_of_allowed_signers_is_placed(signed: Path) -> None:
    (signed / "allowed_signers").write_text("# ours\nalice@example.org cert-authority ssh-ed25519 AAAA\n")
    assert "allowed_signers:2:1: cert-authority is not supported" in refused(signed, *RUN, status=8)
    (signed / "allowed_signers").unlink()
    assert "allowed_signers: it cannot be read" in refused(signed, *RUN, status=8)


# The auditor


def test_the_auditor_brings_a_list_of_signers(signed: Path, keyring: Keyring, tmp_path: Path) -> None:
    well(dr(signed, *RUN))
    mailed = ("audit", "verify", "latest", "--journal", "journal", "--config", "none")
    seen = dr(signed, *mailed)
    assert seen.status == 22
    assert "NOT JUDGED" in seen.out
    assert "entry 0: said to be signed by alice@example.org" in seen.out
    (tmp_path / "mine").write_text(keyring.allowed)
    well(dr(signed, *mailed, "--allowed-signers", str(tmp_path / "mine")))
    well(dr(signed, *mailed, DR_ALLOWED_SIGNERS=str(tmp_path / "mine")))
    (tmp_path / "mine").write_text(keyring.line("bob"))
    seen = dr(signed, *mailed, "--allowed-signers", str(tmp_path / "mine"))
    assert seen.status == 10
    assert seen.err.count("is not in allowed_signers") == 2


def test_all_runs_are_verified_and_the_worst_is_what_counts(signed: Path) -> None:
    well(dr(signed, *RUN))
    well(dr(signed, "audit", "verify", "--all"))
    seen = dr(signed, "audit", "verify", "--all", "--journal", "journal", "--config", "none")
    assert (seen.status, seen.out.count("NOT JUDGED")) == (22, 1)
    well(dr(signed, *RUN, "--unsigned", "a drill"))
    seen = dr(signed, "audit", "verify", "--all")
    assert (seen.status, seen.out.count("INCOMPLETE")) == (21, 1)
    assert "the evidence of 1 of the runs is not complete" in seen.err
    latest = max(signed.glob("journal/runs/*"))
    shutil.copytree(latest, latest.with_name(latest.name + "0"))
    seen = dr(signed, "audit", "verify", "--all")
    assert (seen.status, seen.out.count("BROKEN")) == (10, 1)


def test_a_pack_is_exported_and_verified_by_what_is_in_it(signed: Path) -> None:
    well(dr(signed, *RUN))
    name = f"{run_of(signed)}.tar.gz"
    said = well(dr(signed, "audit", "export", "latest"))
    assert said.startswith(f"{name}: ")
    assert "well, signed" in said
    well(dr(signed, "audit", "export", "latest", "-o", "again.tar.gz"))
    assert (signed / "again.tar.gz").read_bytes() == (signed / name).read_bytes()
    with tarfile.open(signed / name) as tar:
        tar.extractall(signed, filter="data")
    done = subprocess.run(
        [sys.executable, "-I", "-B", f"{run_of(signed)}/verify.py", "--allowed-signers", "allowed_signers"],
        cwd=signed,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "WELL: every entry is behind the chain and behind a signature" in done.stdout


def test_a_pack_of_a_run_that_has_not_ended_is_said_to_be_incomplete(signed: Path) -> None:
    (signed / "good.yaml").write_text(PAUSING)
    assert dr(signed, *RUN).status == 5
    assert "the run has not ended" in well(dr(signed, "audit", "export", "latest", "-o", "paused.tar.gz"))
    well(dr(signed, "answer", "latest", "yes"))
    assert "has not ended" not in well(dr(signed, "audit", "export", "latest", "-o", "ended.tar.gz"))


def test_a_pack_is_never_written_over_anything(signed: Path) -> None:
    well(dr(signed, *RUN))
    (signed / "there").write_text("something")
    seen = dr(signed, "audit", "export", "latest", "-o", "there")
    assert seen.status == 2
    assert "the pack cannot be written: there: File exists" in seen.err
    assert (signed / "there").read_text() == "something"


def test_a_report_says_who_signed(signed: Path) -> None:
    well(dr(signed, *RUN))
    well(dr(signed, "show", "latest", "--report", "report"))
    page = (signed / "report" / "report.html").read_text()
    assert "signed by alice@example.org at" in page
    assert "the journal is unsigned" not in page.lower()


def test_only_a_run_that_has_ended_is_signed_later_and_only_by_somebody(signed: Path) -> None:
    (signed / "good.yaml").write_text(PAUSING)
    assert dr(signed, *RUN).status == 5
    seen = dr(signed, "audit", "sign", "latest")
    assert seen.status == 2
    assert "has not ended" in seen.err
    (signed / "dr.toml").write_text(SHOP)
    seen = dr(signed, "audit", "sign", "latest")
    assert seen.status == 23
    assert "does not say who signs" in seen.err
