"""What the README shows, to be held against what is there."""

from tests.cli.shell import ROOT


def shown_as(mark: str, language: str) -> str:
    """The block of that language between two marks."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    marked = readme.partition(f"<!-- {mark} -->\n")[2].partition(f"<!-- /{mark} -->")[0]
    return marked.partition(f"```{language}\n")[2].partition("```")[0]
