"""Conversations stored as trees: selects the branch that was displayed last, and repairs broken trees."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from sessionary.cli.transfer.conversation import Conversation

_NO_PARENT: Final = frozenset({None, "", "00000000-0000-0000-0000-000000000000", "client-created-root"})
CYCLE: Final = "cycle in the tree of messages, cut"
GAP: Final = "message whose parent is missing, joined to earlier messages"
NO_CURRENT: Final = "current message that is missing, the last one used instead"


class Node(NamedTuple):
    """A message's position in a tree."""

    parent: str | None
    time: float
    """Its time, or its position in the file; -1 if unknown."""


def displayed_branch(nodes: Mapping[str, Node], current: str | None, conversation: Conversation) -> list[str]:
    """Return the nodes of the branch that ends at ``current``, or else at the last leaf, in order."""
    if not nodes:
        return []
    tree = _Tree(nodes, conversation)
    if current is not None and current not in nodes:
        conversation.record_change(NO_CURRENT)
        current = None
    branch = tree.path(current if current is not None else tree.last_leaf(nodes))
    seen = set(branch)
    while (parent := nodes[branch[0]].parent) not in _NO_PARENT and parent not in seen:
        # The parent is missing: the rest of the tree outside this branch came before it.
        conversation.record_change(GAP)
        rest = [name for name in nodes if name not in seen and seen.isdisjoint(tree.ancestors(name))]
        if not rest:
            break
        earlier = tree.path(tree.last_leaf(rest, before=nodes[branch[0]].time))
        branch = [*earlier, *branch]
        seen.update(earlier)
    return branch


class _Tree:
    """The nodes of a tree."""

    def __init__(self, nodes: Mapping[str, Node], conversation: Conversation) -> None:
        self._nodes: Final = nodes
        self._conversation: Final = conversation
        self._order: Final = {name: position for position, name in enumerate(nodes)}

    def path(self, name: str) -> list[str]:
        """Return the path from the topmost ancestor to a node."""
        path: list[str] = []
        seen: set[str] = set()
        parent: str | None = name
        while parent is not None and parent in self._nodes:
            if parent in seen:
                self._conversation.record_change(CYCLE)
                break
            seen.add(parent)
            path.append(parent)
            parent = self._nodes[parent].parent
        return path[::-1]

    def last_leaf(self, names: Iterable[str], before: float = -1) -> str:
        """Return the latest node without children, not later than ``before`` if possible."""
        candidates = list(names)
        parents = {self._nodes[name].parent for name in candidates}
        leaves = [name for name in candidates if name not in parents] or candidates
        early = [name for name in leaves if before < 0 or self._nodes[name].time <= before]
        return max(early or leaves, key=lambda name: (self._nodes[name].time, self._order[name]))

    def ancestors(self, name: str) -> set[str]:
        """Return a node and all its ancestors."""
        seen: set[str] = set()
        parent: str | None = name
        while parent is not None and parent in self._nodes and parent not in seen:
            seen.add(parent)
            parent = self._nodes[parent].parent
        return seen
