"""The Merkle tree of the evidence log (RFC 6962, section 2.1): hashes, proofs, and their checks. Pure.

A tree is read through `Nodes`: the hash of the complete subtree over the leaves from `index << level` up to but
without `(index + 1) << level`. Complete subtrees never change once they are there: a log keeps them, and everything
here looks at O(log n) of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

Nodes = Callable[[int, int], bytes]
"""(level, index) to the hash of that complete subtree; level 0 are the leaf hashes."""
Place = tuple[int, int]
"""(level, index) of a complete subtree."""

EMPTY_ROOT = hashlib.sha256().digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


# --- reading a tree ----------------------------------------------------------------------------------------------


def root(nodes: Nodes, size: int) -> bytes:
    """MTH of the first `size` leaves."""
    return _subtree(nodes, 0, size) if size else EMPTY_ROOT


def completed(nodes: Nodes, index: int, leaf: bytes) -> dict[Place, bytes]:
    """The complete subtrees that come into being with the leaf of that index; `leaf` is its hash."""
    found, level = {(0, index): leaf}, 0
    while index & 1:
        leaf = node_hash(nodes(level, index - 1), leaf)
        level, index = level + 1, index >> 1
        found[level, index] = leaf
    return found


def inclusion(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """PATH(index, D[size]): from the leaf's sibling up to the root's child. Raises `ValueError` beyond the tree."""
    if not 0 <= index < size:
        raise ValueError(f"A tree of {size} leaves has none of index {index}.")
    return _path(nodes, index, 0, size)


def consistency(nodes: Nodes, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[new]): that the tree of `new` leaves begins with the one of `old`; nothing to show from none."""
    if not 0 <= old <= new:
        raise ValueError(f"A tree of {new} leaves can't begin with one of {old}.")
    return _subproof(nodes, old, 0, new, whole=True) if old else []


def places(read: Callable[[Nodes], object]) -> set[Place]:
    """Which subtrees a reader of the tree will ask for, so that they can be fetched at once."""
    asked: set[Place] = set()

    def note(level: int, index: int) -> bytes:
        asked.add((level, index))
        return b""

    read(note)
    return asked


def among(known: Mapping[Place, bytes]) -> Nodes:
    """`Nodes` over subtrees that were fetched. Raises `LookupError` that names the one that is not there."""

    def node(level: int, index: int) -> bytes:
        try:
            return known[level, index]
        except KeyError:
            raise LookupError(f"The tree has no subtree of level {level} at {index}.") from None

    return node


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _subtree(nodes: Nodes, start: int, size: int) -> bytes:
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return nodes(level, start >> level)
    left = _split(size)
    return node_hash(_subtree(nodes, start, left), _subtree(nodes, start + left, size - left))


def _path(nodes: Nodes, index: int, start: int, size: int) -> list[bytes]:
    if size == 1:
        return []
    left = _split(size)
    if index < left:
        return [*_path(nodes, index, start, left), _subtree(nodes, start + left, size - left)]
    return [*_path(nodes, index - left, start + left, size - left), _subtree(nodes, start, left)]


def _subproof(nodes: Nodes, old: int, start: int, size: int, *, whole: bool) -> list[bytes]:
    if old == size:
        return [] if whole else [_subtree(nodes, start, size)]
    left = _split(size)
    if old <= left:
        return [*_subproof(nodes, old, start, left, whole=whole), _subtree(nodes, start + left, size - left)]
    return [*_subproof(nodes, old - left, start + left, size - left, whole=False), _subtree(nodes, start, left)]


# --- growing a tree ----------------------------------------------------------------------------------------------


class Growing:
    """A tree that grows leaf by leaf in O(log n) memory, for who recomputes a whole log."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # of the complete subtrees from left to right, one per bit of the size

    def add(self, leaf: bytes) -> dict[Place, bytes]:
        """Append a leaf by its hash; the complete subtrees that came into being."""
        found: dict[Place, bytes] = {(0, self.size): leaf}
        level, index = 0, self.size
        while index & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            level, index = level + 1, index >> 1
            found[level, index] = leaf
        self._peaks.append(leaf)
        self.size += 1
        return found

    @property
    def root(self) -> bytes:
        """Of the tree as it is."""
        if not self._peaks:
            return EMPTY_ROOT
        head = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            head = node_hash(peak, head)
        return head


# --- checking proofs ---------------------------------------------------------------------------------------------


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes], head: bytes) -> bool:
    """Whether the proof shows the leaf hash at that index below the root `head` (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    order, found = sides(index, size), leaf
    if len(proof) != len(order):
        return False
    for sibling, left in zip(proof, order, strict=True):
        found = node_hash(sibling, found) if left else node_hash(found, sibling)
    return found == head


def sides(index: int, size: int) -> list[bool]:
    """For each hash of an inclusion proof, in order, whether it is the left child."""
    node, last, found = index, size - 1, []
    while last:
        left = bool(node & 1) or node == last
        found.append(left)
        while left and not node & 1 and node:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    return found


def is_consistent(old: int, old_head: bytes, new: int, new_head: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the new tree begins with the old one (RFC 9162, section 2.1.4.2)."""
    if old == 0:
        return not proof and old_head == EMPTY_ROOT and new >= 0
    if old == new:
        return not proof and old_head == new_head
    if not 0 < old < new or not proof:
        return False
    path = list(proof) if old & (old - 1) else [old_head, *proof]
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and before == old_head and after == new_head
