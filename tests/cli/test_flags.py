"""Flags that stand behind an API, switched by the real `dr`."""

from pathlib import Path

from localstack.instance import CREDENTIALS
from tests.appconfig_world import APPLICATION, ENVIRONMENT, PROFILE, appconfig
from tests.cli.shell import GOOD, dr, refused, write
from tests.unleash_world import memory

SLOW = GOOD + "    timeout: 1s\n"


def test_a_flag_of_unleash_is_switched_and_no_file_has_the_token(tmp_path: Path) -> None:
    with memory() as (server, _):
        features = "/api/admin/projects/default/features"
        server.ask("POST", features, {"name": "search"})
        server.ask("POST", f"{features}/search/environments/production/on")
        target = f'type = "unleash"\nurl = "{server.url}"\ntoken = "env:TOKEN"\nenvironment = "production"\n'
        write(tmp_path, {"dr.toml": f"[environments.shop.targets.flags]\n{target}", "quiet.yaml": GOOD})
        seen = dr(tmp_path, "run", "quiet.yaml", "--env", "shop", "--yes", TOKEN=server.token)
        assert seen.status == 0, seen.err
        assert b'"production", "enabled": false' in server.ask("GET", f"{features}/search")
        told = refused(tmp_path, "run", "quiet.yaml", "--env", "shop", "--yes", status=15)
        assert "the secret env:TOKEN cannot be resolved" in told
    assert server.token not in seen.out + seen.err
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and server.token in file.read_text()]


def test_a_change_in_appconfig_that_is_not_through_is_doubt_and_settled_by_a_later_look(tmp_path: Path) -> None:
    """Safety rule 3: the time is over, and the change is still being handed out."""
    with appconfig({"values": {"search": {"enabled": True}}}) as world:
        ids = f'application = "{APPLICATION}"\nenvironment = "{ENVIRONMENT}"\nconfiguration_profile = "{PROFILE}"\n'
        where = f'type = "appconfig-flags"\nregion = "eu-central-1"\nendpoint = "{world.endpoint}"\n'
        target = f'[environments.shop.targets.flags]\n{where}{ids}strategy = "stuck12"\n'
        write(tmp_path, {"dr.toml": target, "quiet.yaml": SLOW})
        seen = dr(tmp_path, "run", "quiet.yaml", "--env", "shop", "--yes", **CREDENTIALS)
        assert seen.status == 5
        assert "it cannot be seen: search is disabled, but not everyone was given that in time" in seen.out
        world.deployments[-1]["Ahead"] = ["COMPLETE"]
        settled = dr(tmp_path, "answer", "latest", "retry", **CREDENTIALS)
        assert settled.status == 0, settled.err
        assert len(world.deployments) == 2
