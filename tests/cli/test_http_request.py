"""A service is told what to do by the real `dr`, with a token that stands nowhere."""

from pathlib import Path

from tests.cli.shell import dr, journal, refused, write
from tests.service import service

TOKEN = "s3cr3t-edge-token"
RUNBOOK = """\
name: maintenance
title: The edge shows the maintenance page
steps:
  - id: page
    kind: http.request
    with:
      service: edge
      check: {path: /maintenance, body: {regex: '"on":true'}}
      change: {path: /maintenance, method: PUT, json: {on: true}}
      back: {path: /maintenance, method: DELETE}
"""


def edge(folder: Path, url: str) -> None:
    target = f'type = "http-api"\nurl = "{url}"\nsecret_headers = {{X-Api-Key = "env:EDGE_KEY"}}\n'
    write(folder, {"dr.toml": f"[environments.shop.targets.edge]\n{target}", "page.yaml": RUNBOOK})


def test_a_service_is_told_and_no_file_has_the_token(tmp_path: Path) -> None:
    with service() as serving:
        edge(tmp_path, serving.url)
        seen = dr(tmp_path, "run", "page.yaml", "--env", "shop", "--yes", EDGE_KEY=TOKEN)
        assert seen.status == 0, seen.err
        assert serving.kept == {"/maintenance": b'{"on":true}'}
        assert {asked.headers["X-Api-Key"] for asked in serving.asked} == {TOKEN}
    [done] = [event["evidence"] for event in journal(tmp_path) if event["type"] == "step-done"]
    assert done == {"status": 200}
    assert TOKEN not in seen.out + seen.err
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and TOKEN in file.read_text()]


def test_a_header_whose_secret_is_missing_stops_the_run_before_anything_is_touched(tmp_path: Path) -> None:
    with service() as serving:
        edge(tmp_path, serving.url)
        told = refused(tmp_path, "run", "page.yaml", "--env", "shop", "--yes", status=15)
        assert "the secret env:EDGE_KEY cannot be resolved: it is not set" in told
        assert serving.asked == []
