"""`cluster-switchover` and `cluster-failover` as an operator meets them, on a cluster that Patroni manages."""

from pathlib import Path

import pytest

from tests.cli.shell import ROOT, dr, environment, journal, started, types, until, write
from tests.cluster import Watch, Writer, toml
from tests.patroni_cluster import SECRETS, PatroniCluster
from tests.website import Site, website

RUNBOOKS = ("cluster-switchover", "cluster-failover")
VARIABLES = {name.removeprefix("env:"): value for name, value in SECRETS.items()}


def desk(folder: Path, patroni: PatroniCluster, shop: Site) -> None:
    """The folder in which an operator runs them."""
    http = f'[environments.test.targets.shop]\ntype = "http"\nurl = "{shop.url}"\n'
    texts = {f"{name}.yaml": (ROOT / "runbooks" / f"{name}.yaml").read_text(encoding="utf-8") for name in RUNBOOKS}
    quick = {name: text.replace("  hold: 5s\n", "") for name, text in texts.items()}
    write(folder, {"dr.toml": toml({"cluster": patroni.config()}) + http, **quick})


@pytest.mark.parametrize("runbook", RUNBOOKS)
def test_it_is_right_and_its_plan_says_how_the_cluster_stands(
    patroni: PatroniCluster, tmp_path: Path, runbook: str
) -> None:
    primary, standby = patroni.roles()
    with website() as shop:
        desk(tmp_path, patroni, shop)
        names = ("-p", f"primary={primary.name}", "-p", f"standby={standby.name}")
        assert dr(tmp_path, "check", f"{runbook}.yaml", "--env", "test", **VARIABLES).status == 0
        plan = dr(tmp_path, "plan", f"{runbook}.yaml", "--env", "test", "--look", *names, **VARIABLES)
    assert plan.status == 0, plan.err
    assert f"led by {primary.name}" in plan.out


def test_a_switchover_loses_no_row_and_tells_no_secret(patroni: PatroniCluster, tmp_path: Path) -> None:
    """Safety rule 13."""
    primary, standby = patroni.roles()
    names = ("-p", f"primary={primary.name}", "-p", f"standby={standby.name}")
    with website() as shop, Watch(patroni) as watch, Writer(patroni) as client:
        desk(tmp_path, patroni, shop)
        run = dr(tmp_path, "run", "cluster-switchover.yaml", "--env", "test", "--yes", *names, **VARIABLES)
        assert run.status == 0, run.err
        client.goes_on()
        assert patroni.roles() == (standby, primary)
    assert types(tmp_path).count("apply-started") == 1
    told = run.out + run.err + str(journal(tmp_path))
    assert not [value for value in VARIABLES.values() if value in told]
    assert not watch.two_writable
    assert client.acknowledged <= patroni.ids(standby)


def test_a_switchover_whose_orchestrator_is_killed_after_its_intent_is_gone_on_with(
    patroni: PatroniCluster, tmp_path: Path
) -> None:
    """Safety rule 3: Patroni may have been asked, or not."""
    primary, standby = patroni.roles()
    names = ("-p", f"primary={primary.name}", "-p", f"standby={standby.name}")
    with website() as shop, Watch(patroni) as watch, Writer(patroni) as client:
        desk(tmp_path, patroni, shop)
        arguments = ("run", "cluster-switchover.yaml", "--env", "test", "--yes", *names)
        with started(tmp_path, *arguments, env=environment(tmp_path, **VARIABLES)) as process:
            until(lambda: "apply-started" in types(tmp_path))
            process.kill()
        resumed = dr(tmp_path, "resume", "latest", **VARIABLES)
        assert resumed.status == 0, resumed.err
        client.goes_on()
        assert patroni.roles() == (standby, primary)
    assert not watch.two_writable
    assert client.acknowledged <= patroni.ids(standby)
