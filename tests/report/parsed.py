"""A page as a browser would take it apart."""

from collections.abc import Iterator
from html.parser import HTMLParser

END_TAGS_MISSING = frozenset({"meta"})


class Node:
    """An element: its name, attributes and what is in it."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[Node | str] = []

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, name: str | None = None, kind: str | None = None) -> Iterator["Node"]:
        """Every element in it of that name and class, in order."""
        for child in self.children:
            if isinstance(child, Node):
                if name in {None, child.name} and (kind is None or kind in child.attributes.get("class", "").split()):
                    yield child
                yield from child.all(name, kind)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        assert len(node.attributes) == len(attrs), f"<{tag}> has an attribute twice"
        self._open[-1].children.append(node)
        if tag not in END_TAGS_MISSING:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def done(self) -> Node:
        self.close()
        assert self._open == [self.root], f"not closed: {self._open[-1].name}"
        return self.root


def parse(page: str) -> Node:
    """The page as a tree; every element must be closed, and in order."""
    parser = _Parser()
    parser.feed(page)
    return parser.done()


def section(page: Node, title: str) -> Node:
    """The section of that title."""
    return next(node for node in page.all("section") if next(node.all("h2")).text == title)


def rows(table: Node) -> list[list[str]]:
    """The cells of a table's body."""
    body = next(table.all("tbody"))
    return [[cell.text for cell in row.children if isinstance(cell, Node)] for row in body.all("tr")]
