"""`dr.toml`: read, checked, and wrong in every way at a place that is named."""

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.core.runbook import MAX_BYTES
from dr.environment import absolute_paths, load_config, place
from dr.errors import DrError, RunbookWrong, UsageError
from dr.findings import Place
from dr.targets.flagd import FlagdFile
from dr.targets.http_endpoint import HttpApi
from dr.targets.ssh import SshGroup

TEXT = """\
[journal]
directory = "runs"

[environments.shop]
description = "the shop"

[environments.shop.targets.flags]
type = "flagd-file"
path = "flags.json"

[environments.shop.targets.primary]
type = "postgresql"
dsn = "host=127.0.0.1"

[environments.shop.targets.standby]
type = "postgresql"
dsn = "env:STANDBY_DSN"

[environments.shop.targets.reads]
type = "flagd-reads"
path = "/shop/flags.json"
flag = "reads"
primary = "primary"
standby = "standby"
application = "shop"

[environments.drill]
targets = {flags = {type = "flagd-file", path = "drill.json"}}
"""


def load(folder: Path, text: str) -> Path:
    path = folder / "dr.toml"
    path.write_text(text, encoding="utf-8")
    return path


def wrong(folder: Path, text: str, environment: str = "shop") -> list[str]:
    path = load(folder, text)
    with pytest.raises(RunbookWrong) as refused:
        load_config(path).environment(environment)
    assert refused.value.stands == "nothing was touched"
    return [line.removeprefix(f"{path}:") for line in refused.value.what.split("\n")]


def test_an_environment_is_its_targets_with_absolute_paths(tmp_path: Path) -> None:
    """A run is gone on with from anywhere."""
    config = load_config(load(tmp_path, TEXT))
    shop = config.environment("shop")
    assert set(shop.targets) == {"flags", "primary", "standby", "reads"}
    assert shop.targets["flags"] == FlagdFile(path=str(tmp_path / "flags.json"))
    assert config.environment("drill").targets == {"flags": FlagdFile(path=str(tmp_path / "drill.json"))}
    assert config.journal_directory == tmp_path / "runs"


def test_the_journal_stands_beside_dr_toml_when_nothing_is_said(tmp_path: Path) -> None:
    assert load_config(load(tmp_path, TEXT[TEXT.index("[env") :])).journal_directory == tmp_path / "journal"


def test_an_environment_that_is_not_there_is_told_with_what_was_probably_meant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no environment 'shpo' \(did you mean 'shop'\?\)"):
        load_config(load(tmp_path, TEXT)).environment("shpo")


def test_what_is_wrong_with_one_environment_does_not_keep_another_from_being_used(tmp_path: Path) -> None:
    config = load_config(load(tmp_path, TEXT.replace('"postgresql"', '"postgres"')))
    assert config.environment("drill").targets


@pytest.mark.parametrize(
    "before, after, told",
    [
        ('"flagd-file"\n', '"flagd-fiel"\n', "8:1: 'flagd-fiel' is not a type of target (did you mean 'flagd-file'?)"),
        ('type = "flagd-file"\npath', "path", "7:1: the field 'type' is missing"),
        ('path = "flags.json"', "path = 7", "9:1: expected text, got a whole number"),
        ('path = "flags.json"\n', "", "7:1: the field 'path' is missing"),
        ('path = "flags.json"', 'paht = "flags.json"', "9:1: unknown field 'paht' (did you mean 'path'?)"),
        ('dsn = "host', 'dsn = "password=x host', "13:1: dsn: it holds a password"),
        ('primary = "primary"', 'primary = "primry"', "23:1: the target 'reads' names 'primry', which is no target of"),
        ('standby = "standby"', 'standby = "flags"', "24:1: the target 'reads' names 'flags', which is no target of"),
        (
            'path = "flags.json"',
            'path = "flags.json"\n  ssh = "web1"',
            "10:3: the target 'flags' names 'web1', which is no target of type ssh of this environment",
        ),
        (
            "[environments.drill]",
            "[enviroments.drill]",
            "27:1: unknown field 'enviroments' (did you mean",
        ),
        ("[environments.drill]", "[environments.Drill]", "27:1: 'Drill': a name is made of lower-case letters"),
        ("targets = {flags", "target = {flags", "28:1: unknown field 'target' (did you mean 'targets'?)"),
        ("[environments.drill]", "[environments.drill", "27:"),
        ('directory = "runs"', "directory = 5", "2:1: expected text, got a whole number"),
        ("[journal]", "[journal]\n[journal]", "2:"),
        ('description = "the shop"', "description = \u00e9", "5:15: "),
    ],
)
def test_each_error_is_named_where_it_stands(tmp_path: Path, before: str, after: str, told: str) -> None:
    assert before in TEXT
    assert any(line.startswith(told) for line in wrong(tmp_path, TEXT.replace(before, after, 1)))


POOL = """
[environments.shop.targets.pool]
type = "pgbouncer-pool"
path = "pgbouncer.ini"
console = "127.0.0.1:6432"
entries = ["shop"]

[[environments.shop.targets.pool.servers]]
server = "db1"
at = "127.0.0.1:5432"

[[environments.shop.targets.pool.servers]]
server = "db2"
at = "127.0.0.2:5432"
"""


def test_a_target_named_in_a_list_of_tables_is_wrong_in_the_table_that_names_it(tmp_path: Path) -> None:
    first = len(TEXT.splitlines()) + POOL.splitlines().index('server = "db1"') + 1
    assert [line.split(", which")[0] for line in wrong(tmp_path, TEXT + POOL)] == [
        f"{first}:1: the target 'pool' names 'db1'",
        f"{first + 4}:1: the target 'pool' names 'db2'",
    ]


def test_all_errors_of_an_environment_are_named_at_once(tmp_path: Path) -> None:
    text = TEXT.replace("flagd-file", "flagd-fiel").replace("flag = ", "falg = ")
    assert [line.split(" ")[0] for line in wrong(tmp_path, text)] == ["8:1:", "19:1:", "22:1:"]


def test_a_secret_that_stands_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """Safety rule 13."""
    for line in ('dsn = "postgresql://u:tr0ub4dor@host"', 'dsn = "host=x"\npassword = "tr0ub4dor"'):
        told = "\n".join(wrong(tmp_path, TEXT.replace('dsn = "host=127.0.0.1"', line)))
        assert "env:NAME" in told
        assert "tr0ub4dor" not in told


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Safety rule 15."""
    path = load(tmp_path, "# " + "x" * MAX_BYTES)
    with pytest.raises(RunbookWrong, match="it is larger than 1,000,000 bytes"):
        load_config(path)
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(RunbookWrong, match=r":1:6: byte 0xff is not UTF-8"):
        load_config(path)
    with pytest.raises(RunbookWrong, match="no such file or directory"):
        load_config(tmp_path / "none.toml")


@given(st.text(max_size=40) | st.text('[]{}="\n.,#tx1 ', max_size=40))
def test_whatever_is_written_it_is_read_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(TEXT + text, encoding="utf-8", errors="ignore")
    with contextlib.suppress(DrError):
        load_config(path).environment("shop")


@given(st.integers(0, len(TEXT)), st.integers(0, 8), st.text('[]{}="\n.,#tx1 ', max_size=4))
def test_wherever_it_is_damaged_it_is_read_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, at: int, out: int, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    path.write_text(TEXT[:at] + text + TEXT[at + out :], encoding="utf-8")
    with contextlib.suppress(DrError):
        load_config(path).environment("shop")


@pytest.mark.parametrize(
    "path, found",
    [
        (("journal",), (1, 1)),
        (("journal", "directory"), (2, 1)),
        (("environments",), (4, 1)),
        (("environments", "shop"), (4, 1)),
        (("environments", "shop", "targets"), (7, 1)),
        (("environments", "shop", "targets", "flags", "path"), (9, 1)),
        (("environments", "shop", "targets", "flags", "nothing"), (7, 1)),
        (("environments", "drill", "targets", "flags", "path"), (28, 1)),
        (("nowhere",), (1, 1)),
    ],
)
def test_a_value_is_found_by_its_line(path: tuple[str, ...], found: tuple[int, int]) -> None:
    assert place(TEXT, path) == Place(*found)


def test_a_path_that_may_be_left_out_is_made_absolute_when_it_is_given(tmp_path: Path) -> None:
    group = SshGroup(hosts=("web1",), user="dr", known_hosts="known_hosts", key="keys/dr")
    placed = absolute_paths(group, tmp_path)
    assert (placed.known_hosts, placed.key) == (f"{tmp_path}/known_hosts", f"{tmp_path}/keys/dr")
    assert absolute_paths(SshGroup(hosts=("web1",), user="dr", known_hosts="/known"), tmp_path).key is None


def test_every_path_begins_where_the_file_is_or_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of secrets; a folder that is really called `~` would be a trap. There is no such user as the last."""
    monkeypatch.setenv("HOME", "/home/oncall")
    group = SshGroup(
        hosts=("web1",), user="dr", known_hosts="~/known", key="~nosuchuser/key", passphrase="file:secrets/passphrase"
    )
    placed = absolute_paths(group, tmp_path)
    assert placed.known_hosts == "/home/oncall/known"
    assert placed.key == f"{tmp_path}/~nosuchuser/key"
    assert placed.passphrase == f"file:{tmp_path}/secrets/passphrase"
    api = HttpApi(url="http://edge", bearer="env:TOKEN", secret_headers={"X-A": "file:~/a", "X-B": "ssm:/b"})
    assert absolute_paths(api, tmp_path) == msgspec.structs.replace(
        api, secret_headers={"X-A": "file:/home/oncall/a", "X-B": "ssm:/b"}
    )
    (tmp_path / "dr.toml").write_text('[journal]\ndirectory = "~/journal"\n[environments.x.targets]\n' + SIGNED)
    config = load_config(tmp_path / "dr.toml")
    assert config.journal_directory == Path("/home/oncall/journal")
    assert config.signing is not None
    assert config.signing.allowed_signers == f"{tmp_path}/signers"
    assert config.signing.passphrase == f"file:{tmp_path}/passphrase"


SIGNED = """\
[signing]
key = "file:id"
identity = "ada@example.org"
allowed_signers = "signers"
passphrase = "file:passphrase"
"""
