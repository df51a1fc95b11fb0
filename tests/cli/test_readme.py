"""What the README shows of the journal on S3 works as it stands there."""

import subprocess
import sys
from pathlib import Path

from localstack.instance import LocalStack
from tests.cli.shell import PATIENCE, ROOT, environment, types
from tests.localstack_fixture import Buckets

BUCKETS = ("s3://dr-journal-mirror/", "s3://dr-journal/")


def test_what_the_readme_shows_of_a_home_works_on_localstack(
    tmp_path: Path, localstack: LocalStack, buckets: Buckets
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- on-localstack -->\n```sh\n")[2].partition("```\n<!-- /on-localstack -->")[0]
    for name, bucket in zip(BUCKETS, (buckets.mirror, buckets.home), strict=True):
        assert name in shown
        shown = shown.replace(name, f"s3://{bucket.name}/")
    script = f'dr() {{ {sys.executable} -m dr "$@" && echo "status 0" || echo "status $?"; }}\n{shown}'
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env=environment(tmp_path, **localstack.environment),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    statuses = [line.removeprefix("status ") for line in done.stdout.splitlines() if line.startswith("status ")]
    assert statuses == ["5", "20", "0", "0", "0", "0"], done.stdout + done.stderr
    assert "finished: " in done.stdout
    assert done.stdout.count(": the same") == 2
    assert types(tmp_path)[-1] == "run-ended"
