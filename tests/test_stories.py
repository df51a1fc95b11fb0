"""Each story in tests/stories is told again and must read the same.

DR_REWRITE_STORIES=1 writes what is seen into the files instead; read the difference before you commit it.
"""

import os
from pathlib import Path

import pytest

from tests.story import Story

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))
REWRITE = os.environ.get("DR_REWRITE_STORIES", "") not in {"", "0"}


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_operator_sees_what_the_story_tells(path: Path, tmp_path: Path) -> None:
    written = path.read_text(encoding="utf-8")
    told = Story(written).retold(tmp_path)
    if REWRITE:
        path.write_text(told, encoding="utf-8")
    else:
        assert told == written
