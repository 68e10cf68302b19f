"""XML read into small nodes with their line numbers; documents with a DOCTYPE are refused, so that no entity is ever expanded or fetched.

This file finishes with `read_xml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from domain.errors import FormatError

_SEPARATOR = "}"
_DEEPEST = 100


@dataclass(slots=True)
class Node:
    """One element: its name and its attributes' names without namespace, its text, its children, the line that it begins at."""

    name: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def every(self, name: str) -> Iterator[Node]:
        """Yield the elements of a name below this one, in document order."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.every(name)

    def first(self, name: str) -> Node | None:
        """Return the first element of a name below this one, or None."""
        return next(self.every(name), None)

    def words(self, name: str) -> str | None:
        """Return the stripped text of the first element of a name below this one; None when there is none or it is empty."""
        found = self.first(name)
        return (found.text.strip() or None) if found is not None else None


class _RefusedError(Exception):
    """Raised inside the parser's handlers."""


def read_xml(raw: bytes, *, where: str) -> Node:
    """Return the root element.

    Raises
    ------
    FormatError
        When it is no well-formed XML, has a DOCTYPE (entities, external or not, are never used), or nests deeper than 100.
    """
    # S405-style dangers are shut off by hand: no DOCTYPE, hence no entities.
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    root = Node("", {}, 0)
    path = [root]

    def local(name: str) -> str:
        return name.rpartition(_SEPARATOR)[2]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(path) > _DEEPEST:
            raise _RefusedError("it nests deeper than 100 elements")
        node = Node(local(name), {local(key): value for key, value in attributes.items()}, parser.CurrentLineNumber)
        path[-1].children.append(node)
        path.append(node)

    def end(name: str) -> None:
        del name
        path.pop()

    def text(data: str) -> None:
        path[-1].text += data

    def refuse(*_: Any) -> None:
        raise _RefusedError("it has a DOCTYPE, and entities are not used")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(raw, True)
    except (expat.ExpatError, _RefusedError, ValueError) as fault:
        raise FormatError(
            f"the document is refused: {fault}.", where=where, remedy="send well-formed XML without DOCTYPE"
        ) from fault
    return root.children[0]
