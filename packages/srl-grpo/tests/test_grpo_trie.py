"""The tree of texts: by hand, and against the set of all beginnings."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from srl_grpo.learner.trie import Branch, common, trie_of

IDS = st.integers(0, 2)
PAIRS = st.lists(
    st.tuples(
        st.lists(IDS, min_size=1, max_size=5).map(tuple), st.lists(IDS, max_size=6).map(tuple)
    ),
    min_size=1,
    max_size=9,
)


def test_two_completions_of_a_prompt_by_hand():
    tree = trie_of([((5, 6), (7, 8)), ((5, 6), (7, 9, 0))])
    assert tree.ids == [5, 6, 7, 8, 9, 0]
    assert tree.positions == [0, 1, 2, 3, 3, 4]
    assert tree.branches == (Branch(0, 3, 6, 0), Branch(3, 4, 4, 3), Branch(4, 6, 6, 3))
    assert tree.predictors == [1, 2, 1, 2, 4]
    assert tree.targets == [7, 8, 7, 9, 0]


def test_prompts_without_a_common_beginning_are_trees_side_by_side():
    tree = trie_of([((5,), (6,)), ((4, 4), (3,))])
    assert tree.ids == [4, 4, 3, 5, 6]
    assert tree.branches == (Branch(0, 3, 3, 0), Branch(3, 5, 5, 0))
    assert tree.predictors == [3, 1]


def test_an_equal_and_an_empty_completion_add_no_tokens():
    tree = trie_of([((5, 6), (7, 8)), ((5, 6), ()), ((5, 6), (7, 8)), ((5,), (6, 7))])
    assert tree.ids == [5, 6, 7, 8]
    assert len(tree.branches) <= 3
    assert tree.predictors == [1, 2, 1, 2, 0, 1]


def test_what_two_texts_have_in_common():
    assert [common((1, 2, 3), other) for other in ((1, 2, 4, 5), (1, 2), (), (9,))] == [2, 2, 0, 0]


def test_a_thousand_texts_each_longer_than_the_last():
    tree = trie_of([((1,) * (n + 1), (2,)) for n in range(1500)])
    assert len(tree.ids) == 1500 + 1500


@given(PAIRS)
@example([((1,), ())])
@example([((1, 1), (1, 1)), ((1,), (1, 1, 1)), ((1, 1, 1), ())])
def test_every_beginning_stands_once_and_predicts_what_comes_after_it(pairs):
    tree = trie_of(pairs)
    beginnings = {(*p, *c)[:n] for p, c in pairs for n in range(1, len(p) + len(c) + 1)}
    found = [beginning(tree, place) for place in range(len(tree.ids))]
    assert len(found) == len(beginnings)
    assert set(found) == beginnings
    assert [len(ids) - 1 for ids in found] == tree.positions
    expected = [(*p, *c[:n]) for p, c in pairs for n in range(len(c))]
    assert [found[place] for place in tree.predictors] == expected
    assert tree.targets == [token for _, c in pairs for token in c]


def beginning(tree, place):
    """The text up to a place, by the branches whose continuation holds it."""
    inside = [b for b in tree.branches if b.start <= place < b.stop]
    assert [b.start for b in inside] == sorted(b.start for b in inside)
    assert sum(b.start <= place < b.end for b in tree.branches) == 1
    return tuple(tree.ids[i] for b in inside for i in range(b.start, min(b.end, place + 1)))


@given(PAIRS)
def test_branches_cover_the_row_and_lie_within_those_that_they_continue(pairs):
    tree = trie_of(pairs)
    assert [b.start for b in tree.branches] == [0, *(b.end for b in tree.branches)][:-1]
    for one in tree.branches:
        assert one.start < one.end <= one.stop
        assert one.depth == tree.positions[one.start]
        assert all(b.stop <= one.stop for b in tree.branches if one.start < b.start < one.stop)


def test_a_completion_without_a_prompt_is_our_own_mistake():
    with pytest.raises(AssertionError, match="predicts its first"):
        trie_of([((), (1, 2))])
