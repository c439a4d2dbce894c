"""Conversations that are kept as trees: the branch that was shown last, joined together where the tree is broken."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from sessionary.cli.transfer.conversation import Conversation

_NO_PARENT: Final = frozenset({None, "", "00000000-0000-0000-0000-000000000000", "client-created-root"})
CIRCLE: Final = "tree of messages that goes in a circle, cut"
GAP: Final = "message whose parent is missing, joined to what came before"
NO_CURRENT: Final = "current message that is missing, the last one taken instead"


class Node(NamedTuple):
    """A message's place in a tree."""

    parent: str | None
    time: float
    """When it was said, or the place in the file; -1 if nobody knows."""


def shown_branch(nodes: Mapping[str, Node], current: str | None, conversation: Conversation) -> list[str]:
    """Name the nodes of the branch that ends in ``current``, the first one first; without one, in the last leaf."""
    if not nodes:
        return []
    tree = _Tree(nodes, conversation)
    if current is not None and current not in nodes:
        conversation.mend(NO_CURRENT)
        current = None
    branch = tree.path(current if current is not None else tree.last_leaf(nodes))
    seen = set(branch)
    while (parent := nodes[branch[0]].parent) not in _NO_PARENT and parent not in seen:
        # The parent is gone: what is left of the tree beside this branch came before it.
        conversation.mend(GAP)
        rest = [name for name in nodes if name not in seen and not tree.hangs_on(name, seen)]
        if not rest:
            break
        earlier = tree.path(tree.last_leaf(rest, before=nodes[branch[0]].time))
        branch = [*earlier, *branch]
        seen.update(earlier)
    return branch


class _Tree:
    """The nodes, and which of them have children."""

    def __init__(self, nodes: Mapping[str, Node], conversation: Conversation) -> None:
        self._nodes: Final = nodes
        self._conversation: Final = conversation
        self._order: Final = {name: place for place, name in enumerate(nodes)}

    def path(self, name: str) -> list[str]:
        """Go from a node up as far as there are parents."""
        path: list[str] = []
        seen: set[str] = set()
        parent: str | None = name
        while parent is not None and parent in self._nodes:
            if parent in seen:
                self._conversation.mend(CIRCLE)
                break
            seen.add(parent)
            path.append(parent)
            parent = self._nodes[parent].parent
        return path[::-1]

    def last_leaf(self, names: Iterable[str], before: float = -1) -> str:
        """Find the node without children that was said last, though not after ``before``."""
        among = list(names)
        parents = {self._nodes[name].parent for name in among}
        leaves = [name for name in among if name not in parents] or among
        early = [name for name in leaves if before < 0 or self._nodes[name].time <= before]
        return max(early or leaves, key=lambda name: (self._nodes[name].time, self._order[name]))

    def hangs_on(self, name: str, branch: set[str]) -> bool:
        """Tell whether a node is a later fork of a branch."""
        return bool(branch.intersection(self.path_quietly(name)))

    def path_quietly(self, name: str) -> set[str]:
        """Name a node and all above it."""
        seen: set[str] = set()
        parent: str | None = name
        while parent is not None and parent in self._nodes and parent not in seen:
            seen.add(parent)
            parent = self._nodes[parent].parent
        return seen
