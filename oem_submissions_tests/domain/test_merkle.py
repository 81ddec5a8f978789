"""The log's tree: RFC 6962's published vectors, a naive tree of any size, and proofs that must not hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oem_submissions.domain import merkle
from oem_submissions.domain.merkle import Growing, among, consistency, includes, inclusion, is_consistent, leaf_hash

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
_PEER = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
_PAIR = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
_HALF = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
_FIFTH = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
_LAST = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
_THIRD = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"


def tree(leaves: list[bytes]) -> merkle.Nodes:
    growing, nodes = Growing(), {}
    for leaf in leaves:
        nodes |= growing.add(leaf_hash(leaf))
    return among(nodes)


def naive(leaves: list[bytes]) -> bytes:
    """MTH exactly as RFC 6962 writes it."""
    if len(leaves) < 2:
        return leaf_hash(leaves[0]) if leaves else merkle.EMPTY_ROOT
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(naive(leaves[:split]), naive(leaves[split:]))


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_the_published_ones(size: int) -> None:
    growing = Growing()
    for leaf in LEAVES[:size]:
        growing.add(leaf_hash(leaf))
    assert merkle.root(tree(LEAVES), size).hex() == ROOTS[size] == growing.root.hex()


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (0, 8, [_PEER, _PAIR, _HALF]),
        (5, 8, [_FIFTH, _LAST, ROOTS[4]]),
        (2, 3, [ROOTS[2]]),
        (1, 5, [ROOTS[1], _PAIR, _FIFTH]),
    ],
)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int, path: list[str]) -> None:
    proof = inclusion(tree(LEAVES), index, size)
    assert [item.hex() for item in proof] == path
    assert includes(leaf_hash(LEAVES[index]), index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [(1, 1, []), (1, 8, [_PEER, _PAIR, _HALF]), (6, 8, [_THIRD, _LAST, ROOTS[4]]), (2, 5, [_PAIR, _FIFTH])],
)
def test_consistency_proofs_are_the_published_ones(old: int, new: int, path: list[str]) -> None:
    proof = consistency(tree(LEAVES), old, new)
    assert [item.hex() for item in proof] == path
    assert is_consistent(old, bytes.fromhex(ROOTS[old]), new, bytes.fromhex(ROOTS[new]), proof)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_trees_of_any_size_prove_what_is_so_and_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    leaves = [number.to_bytes(2, "big") for number in range(size)]
    nodes, index, old = tree(leaves), data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    head, before = merkle.root(nodes, size), merkle.root(nodes, old)
    assert head == naive(leaves)
    assert before == naive(leaves[:old])
    path, steps = inclusion(nodes, index, size), consistency(nodes, old, size)
    leaf = leaf_hash(leaves[index])
    assert includes(leaf, index, size, path, head)
    assert is_consistent(old, before, size, head, steps)
    assert len(path) <= size.bit_length()
    assert not includes(leaf_hash(b"other"), index, size, path, head)
    assert not any(includes(leaf, other, size, path, head) for other in range(size) if other != index)
    assert not includes(leaf, index, size, path, leaf_hash(b""))
    assert not includes(leaf, index, size, [*path, head], head)
    assert not is_consistent(old, leaf_hash(b"x"), size, head, steps)
    assert not is_consistent(old, before, size, leaf_hash(b"x"), steps)
    assert not is_consistent(old, before, size, head, [*steps, head])
    for at in range(len(path)):
        assert not includes(leaf, index, size, [*path[:at], bytes(32), *path[at + 1 :]], head)
    for at in range(len(steps)):
        assert not is_consistent(old, before, size, head, [*steps[:at], bytes(32), *steps[at + 1 :]])
        assert not is_consistent(old, before, size, head, steps[:at])


@given(st.integers(0, 1 << 40))
def test_a_log_of_any_size_is_read_in_few_places(size: int) -> None:
    nodes = merkle.places(lambda nodes: merkle.root(nodes, size))
    if size:
        nodes |= merkle.places(lambda nodes: inclusion(nodes, size // 2, size))
        nodes |= merkle.places(lambda nodes: consistency(nodes, size // 3, size))
        nodes |= merkle.places(lambda nodes: merkle.completed(nodes, size - 1, b""))
    assert len(nodes) <= 5 * 41
    assert all((index + 1) << level <= size for level, index in nodes), "a subtree that is not complete was asked for"


def test_what_is_beyond_the_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="has none of index 8"):
        inclusion(tree(LEAVES), 8, 8)
    with pytest.raises(ValueError, match="can't begin with"):
        consistency(tree(LEAVES), 9, 8)
    with pytest.raises(LookupError, match="level 0 at 8"):
        merkle.root(tree(LEAVES), 9)
    assert not includes(b"", 8, 8, [], b"")
    assert consistency(tree(LEAVES), 0, 8) == []
    assert is_consistent(0, merkle.EMPTY_ROOT, 8, bytes(32), [])
    assert not is_consistent(8, bytes.fromhex(ROOTS[8]), 7, bytes.fromhex(ROOTS[7]), [])
