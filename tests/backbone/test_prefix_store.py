"""The store of keys and values: its budget holds, promises last as long as who they were made to, the oldest goes first."""

from __future__ import annotations

import gc
import random

import pytest
import torch

from pegbox.backbone.prefix_store import PrefixStore, default_budget
from pegbox.backbone.storage import Block, KeysValues
from pegbox.errors import SettingsError


class Owner:
    pass


def block(size: int) -> Block:
    """A block of `size` times 8 bytes: one float32 key and one value for each position."""
    return (KeysValues(torch.zeros(1, 1, size, 1), torch.zeros(1, 1, size, 1)),)


def same(found: Block | None, kept: Block) -> bool:
    """Whether these are the very numbers, not equal ones."""
    return found is not None and all(f.keys is k.keys and f.values is k.values for f, k in zip(found, kept, strict=True))


def keys(store: PrefixStore) -> set[str]:
    return {key for key in "abcdefgh" if store.get(key) is not None}


def test_a_blocks_size_is_its_keys_and_values() -> None:
    run = KeysValues(torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 5, 6))
    assert run.length == 5
    assert run.nbytes == 2 * 3 * 5 * (4 + 6) * 4


def test_what_is_kept_comes_back() -> None:
    store, kept = PrefixStore(100), block(2)
    store.put("a", kept)
    assert same(store.get("a"), kept)
    assert store.get("b") is None
    assert store.held == 16
    store.put("a", block(2))
    assert same(store.get("a"), kept)
    assert store.held == 16
    store.clear()
    assert store.get("a") is None
    assert store.held == 0


def test_the_least_lately_used_goes_first() -> None:
    store = PrefixStore(24)
    for key in "abc":
        store.put(key, block(1))
    store.get("a")
    store.put("d", block(1))
    assert keys(store) == {"a", "c", "d"}
    for key in "ac":
        store.get(key)
    store.put("e", block(1))
    assert keys(store) == {"a", "c", "e"}


def test_a_block_that_can_never_fit_throws_nothing_out() -> None:
    store = PrefixStore(24)
    store.put("a", block(1))
    store.put("b", block(4))
    assert keys(store) == {"a"}


def test_what_is_reserved_is_not_thrown_out_and_is_granted_in_order_as_far_as_there_is_room() -> None:
    store, owner = PrefixStore(24), Owner()
    assert store.reserve(owner, [("a", 8), ("b", 20), ("c", 16), ("d", 8)]) == {"a", "c"}
    store.put("a", block(1))
    store.put("e", block(1))
    store.put("c", block(2))
    assert keys(store) == {"a", "c"}  # e stood on room that was promised
    store.put("f", block(1))
    assert keys(store) == {"a", "c"}


def test_two_owners_of_one_block_take_room_once_and_each_keeps_it_alive() -> None:
    store, first, second = PrefixStore(16), Owner(), Owner()
    assert store.reserve(first, [("a", 8)]) == {"a"}
    assert store.reserve(second, [("a", 8), ("b", 8)]) == {"a", "b"}
    assert store.reserve(first, [("a", 8)]) == {"a"}
    store.put("a", block(1))
    del first
    gc.collect()
    store.put("b", block(1))
    store.put("c", block(1))
    assert keys(store) == {"a", "b"}


def test_an_owners_death_frees_what_it_had_reserved() -> None:
    store, owner, other = PrefixStore(16), Owner(), Owner()
    store.reserve(owner, [("a", 16)])
    store.put("a", block(2))
    assert store.reserve(other, [("b", 8)]) == frozenset()
    del owner
    gc.collect()
    assert store.get("a") is not None  # still of use to whoever asks next
    assert store.reserve(other, [("b", 8)]) == {"b"}
    store.put("b", block(1))
    assert keys(store) == {"b"}


def test_an_owner_in_a_circle_of_references_is_freed_too() -> None:
    store, owner = PrefixStore(8), Owner()
    owner.itself = owner  # type: ignore[attr-defined]
    store.reserve(owner, [("a", 8)])
    del owner
    gc.collect()
    assert store.reserve(Owner(), [("b", 8)]) == {"b"}


def test_a_new_owner_at_a_dead_ones_address_inherits_nothing() -> None:
    store = PrefixStore(8)
    seen = set()
    for _ in range(200):
        owner = Owner()
        again = id(owner) in seen
        seen.add(id(owner))
        assert store.reserve(owner, [(f"key {len(seen)} {again}", 8)])  # granted: nothing is left of those before
        del owner
    assert len(seen) < 200  # addresses did come again


def test_the_budget_holds_whatever_happens() -> None:
    chance = random.Random(0)
    for _ in range(30):
        store, owners = PrefixStore(chance.randrange(0, 200)), [Owner() for _ in range(3)]
        sizes = {number: chance.randrange(1, 8) for number in range(20)}
        granted: dict[Owner, set[int]] = {}
        for _ in range(60):
            number = chance.randrange(20)
            if chance.random() < 0.2:
                owner = chance.choice(owners)
                granted.setdefault(owner, set()).update(store.reserve(owner, [(number, sizes[number] * 8)]))  # type: ignore[arg-type]
            else:
                store.put(number, block(sizes[number]))
            assert store.held <= store.budget
        for number in {number for some in granted.values() for number in some}:  # a promise is kept
            store.put(number, block(sizes[number]))
        assert all(store.get(number) is not None for some in granted.values() for number in some)
        assert store.held == sum(sizes[number] * 8 for number in range(20) if store.get(number) is not None)


def test_the_budget_can_be_set_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEGBOX_CACHE_BYTES", "123")
    assert PrefixStore().budget == default_budget() == 123
    monkeypatch.setenv("PEGBOX_CACHE_BYTES", "2 GB")
    with pytest.raises(SettingsError, match="PEGBOX_CACHE_BYTES='2 GB'") as caught:
        default_budget()
    assert caught.value.expected == "a whole number of bytes"
    monkeypatch.delenv("PEGBOX_CACHE_BYTES")
    assert default_budget() > 1_000_000
