"""What the README and the pages in docs/ show, to be held against what is there."""

from tests.cli.shell import ROOT

PAGES = (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))


def shown_as(mark: str, language: str) -> str:
    """The block of that language between two marks."""
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    [page] = [page for page in pages if f"<!-- {mark} -->\n" in page]
    marked = page.partition(f"<!-- {mark} -->\n")[2].partition(f"<!-- /{mark} -->")[0]
    return marked.partition(f"```{language}\n")[2].partition("```")[0]
