"""`SequenceMatcher` in difflib's place: any calls in any order, any elements, the same outcomes."""

import array
import collections
import decimal
import difflib
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srl_reward.sequence import Match, SequenceMatcher


class Text(str):
    __slots__ = ()


class Parity:
    """Equal by value, hashed by parity, so that hashes clash."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Parity) and self.value == other.value

    def __hash__(self):
        return self.value % 2

    def __repr__(self):
        return f"Parity({self.value})"


KINDS = {
    "str": ("abc ", "".join),
    "str subclass": ("abc ", lambda picked: Text("".join(picked))),
    "UserString": ("ab", lambda picked: collections.UserString("".join(picked))),
    "any code points": ("aé😀\ud800", "".join),
    "bytes": ([97, 98, 99], bytes),
    "bytearray": ([97, 98], bytearray),
    "memoryview": ([97, 98], lambda picked: memoryview(bytes(picked))),
    "array": ([97, -98], lambda picked: array.array("i", picked)),
    "ints": ([97, 98, -1], list),
    "huge ints": ([2**70, -(2**70), 2**63, -(2**63), 2**63 - 1], list),
    "bools": ([True, False, 1, 0], tuple),
    "floats": ([1.0, 0.0, -0.0, 2.5, 1, True], list),
    "NaN": ([math.nan, 1.0, -math.nan], list),
    "decimals": ([decimal.Decimal(1), 1, decimal.Decimal("1.0")], list),
    "tuples": ([(1,), (2, "x"), ()], list),
    "clashing hashes": ([Parity(1), Parity(2), Parity(3)], list),
    "mixed": ([1, "a", None, (1,), b"a", Text("a"), 2**70, float(2**70)], collections.UserList),
    "nested": ([frozenset([1]), frozenset()], list),
}
JUNKS = [None, None, lambda _: False, lambda _: True, lambda each: each in (97, "a", " ", 1)]
BOUNDS = st.one_of(st.none(), st.integers(-3, 12), st.integers(190, 260))
CALLS = st.one_of(
    st.tuples(st.just("find_longest_match"), st.lists(BOUNDS, max_size=4)),
    st.tuples(st.just("get_grouped_opcodes"), st.lists(st.integers(-1, 4), max_size=1)),
    st.tuples(
        st.sampled_from(
            ["get_matching_blocks", "get_opcodes", "ratio", "quick_ratio", "real_quick_ratio"]
        ),
        st.just([]),
    ),
    st.tuples(st.sampled_from(["set_seq1", "set_seq2", "attributes"]), st.just([])),
)


def sequence(seed, kinds):
    rng = random.Random(seed)
    alphabet, make = KINDS[rng.choice(kinds)]
    return make(rng.choices(alphabet, k=rng.choice([0, 1, 3, 20, 199, 200, 230])))


def outcome(matcher, name, arguments):
    if name == "attributes":
        return matcher.b2j, matcher.bjunk, matcher.bpopular, matcher.opcodes
    try:
        found = getattr(matcher, name)(*arguments)
        return list(found) if name == "get_grouped_opcodes" else found
    except (TypeError, ValueError, IndexError) as error:
        return type(error), str(error)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=2),
    st.lists(st.integers(0, 2**32), min_size=4, max_size=4),
    st.sampled_from(JUNKS),
    st.sampled_from([True, False, 1, None, ""]),
    st.lists(CALLS, min_size=1, max_size=6),
)
def test_any_calls_in_any_order_give_what_difflib_gives(kinds, seeds, junk, autojunk, calls):
    a, b, *others = (sequence(seed, kinds) for seed in seeds)
    ours = SequenceMatcher(junk, a, b, autojunk)
    theirs = difflib.SequenceMatcher(junk, a, b, autojunk)
    for name, arguments in calls:
        chosen = (
            others[:1] if name == "set_seq1" else others[1:] if name == "set_seq2" else arguments
        )
        assert outcome(ours, name, chosen) == outcome(theirs, name, chosen), name


def test_elements_that_are_not_hashable_matter_only_where_difflib_comes_to_them():
    a = [1, 2, [3]]
    ours, theirs = SequenceMatcher(None, a, [1, 2]), difflib.SequenceMatcher(None, a, [1, 2])
    assert ours.find_longest_match(0, 2, 0, 2) == theirs.find_longest_match(0, 2, 0, 2) == (0, 0, 2)
    for matcher in (ours, theirs):
        with pytest.raises(TypeError, match="unhashable type: 'list'"):
            matcher.get_matching_blocks()
        with pytest.raises(TypeError, match="unhashable type: 'list'"):
            matcher.set_seq2([1, [2]])


def test_bounds_that_are_no_ints_raise_as_in_difflib():
    for bounds in [(None,), (0, 1, None), ("a",), (0, 1.5)]:
        assert outcome(SequenceMatcher(None, "ab", "ab"), "find_longest_match", bounds) == outcome(
            difflib.SequenceMatcher(None, "ab", "ab"), "find_longest_match", bounds
        )


def test_a_subclass_may_index_the_second_sequence_in_its_own_way():
    def chain(self):
        self.b2j, self.bjunk, self.bpopular = {}, set(), {"y"}

    class Ours(SequenceMatcher):
        _SequenceMatcher__chain_b = chain

    class Theirs(difflib.SequenceMatcher):
        _SequenceMatcher__chain_b = chain

    ours, theirs = Ours(None, "yxyx", "xyxy"), Theirs(None, "yxyx", "xyxy")
    assert ours.bpopular == {"y"}
    assert ours.get_opcodes() == theirs.get_opcodes()
    assert ours.find_longest_match() == theirs.find_longest_match()
    assert ours.ratio() == theirs.ratio() == 0.0


def test_a_matcher_may_be_given_another_longest_match():
    matcher = SequenceMatcher(None, "abc", "abc")
    matcher.find_longest_match = lambda alo, _ahi, blo, _bhi: Match(alo, blo, 0)
    assert matcher.get_matching_blocks() == [Match(3, 3, 0)]


def test_it_is_generic_as_difflibs_is():
    assert SequenceMatcher[str](None, "a", "a").ratio() == 1.0
    assert difflib.get_close_matches("appel", ["ape", "apple"]) == ["apple", "ape"]
