"""Hypothesis: blocks, opcodes and floats equal difflib's on every kind of sequence."""

import difflib
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srl_reward.sequence import SequenceMatcher, ratio, ratio_batch

ALPHABETS = [
    "a",
    "ab",
    "abcd",
    "etaoin shrdlu",
    "abcdefghijklmnopqrstuvwxyz ,.\n",
    "".join(map(chr, range(32, 127))),
    "éàüßñ aeiou",
    "".join(map(chr, range(0x4E00, 0x4E00 + 600))),
    "\ud800\udfff𝔸🙂 ab",
]


def _sequence(draw, alphabet, length):
    """Many elements from one drawn seed: long sequences at Hypothesis's price for one integer."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    skew = draw(st.sampled_from([0, 1, 2]))
    weights = [1 / (rank + 1) ** skew for rank in range(len(alphabet))]
    return rng.choices(alphabet, weights, k=length), rng


def _edited(rng, sequence, alphabet, edits):
    """A copy with pieces replaced, removed, repeated, inserted and moved."""
    copy = list(sequence)
    for _ in range(edits):
        at, size = rng.randrange(len(copy) + 1), rng.choice([1, 1, 2, 5, 40])
        piece = rng.choice(
            [[], rng.choices(alphabet, k=size), copy[at : at + size] * 2, copy[-size:]]
        )
        copy[at : at + rng.choice([0, size])] = piece
    return copy


@st.composite
def pairs(draw, alphabets, lengths):
    alphabet = draw(st.sampled_from(alphabets))
    a, rng = _sequence(draw, alphabet, draw(lengths))
    if draw(st.booleans()):
        return a, _edited(rng, a, alphabet, draw(st.integers(0, 30)))
    return a, _sequence(draw, alphabet, draw(lengths))[0]


SHORT = st.integers(0, 60)
CLIFF = st.integers(180, 260)
LONG = st.integers(300, 900)
LENGTHS = st.one_of(SHORT, CLIFF, LONG)
EXAMPLES = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=False
)


def _assert_equal(a, b, autojunk):
    theirs = difflib.SequenceMatcher(None, a, b, autojunk)
    ours = SequenceMatcher(None, a, b, autojunk)
    assert ratio(a, b, autojunk=autojunk) == theirs.ratio()
    assert ours.get_matching_blocks() == theirs.get_matching_blocks()
    assert ours.get_opcodes() == theirs.get_opcodes()


@EXAMPLES
@given(pairs(ALPHABETS, LENGTHS), st.booleans())
def test_strings_equal_difflib(pair, autojunk):
    a, b = map("".join, pair)
    _assert_equal(a, b, autojunk)


@EXAMPLES
@given(
    pairs([range(2), range(50), range(-3, 2000), range(0, 2**62, 2**54)], LENGTHS), st.booleans()
)
def test_integers_equal_difflib(pair, autojunk):
    _assert_equal(*pair, autojunk)


@EXAMPLES
@given(pairs([["the", "a", "cat"], [(1, "x"), (2,), None, 2.5, 1, True]], SHORT), st.booleans())
def test_other_hashables_equal_difflib(pair, autojunk):
    _assert_equal(*pair, autojunk)


@EXAMPLES
@given(pairs(ALPHABETS[1:6], st.one_of(SHORT, CLIFF)), st.booleans(), st.sampled_from(["a ", "eb"]))
def test_junk_equals_difflib(pair, autojunk, junk):
    ours = SequenceMatcher(junk.__contains__, *pair, autojunk)
    theirs = difflib.SequenceMatcher(junk.__contains__, *pair, autojunk)
    assert ours.get_matching_blocks() == theirs.get_matching_blocks()
    assert ours.ratio() == theirs.ratio()


@EXAMPLES
@given(pairs(ALPHABETS, st.one_of(SHORT, CLIFF)), st.booleans(), st.data())
def test_bounded_longest_matches_equal_difflib(pair, autojunk, data):
    a, b = map("".join, pair)
    a_lo, a_hi = sorted(data.draw(st.tuples(*[st.integers(0, len(a))] * 2)))
    b_lo, b_hi = sorted(data.draw(st.tuples(*[st.integers(0, len(b))] * 2)))
    ours = SequenceMatcher(None, a, b, autojunk)
    theirs = difflib.SequenceMatcher(None, a, b, autojunk)
    bounds = (a_lo, a_hi, b_lo, b_hi)
    assert ours.find_longest_match(*bounds) == theirs.find_longest_match(*bounds)


@st.composite
def repetitive(draw):
    """Pieces repeated many times, with elements of one side alone strewn in: no seed helps here."""
    pieces = draw(st.lists(st.text("-c=", min_size=1, max_size=30), min_size=1, max_size=3))
    repeats = st.lists(st.tuples(st.sampled_from(pieces), st.integers(1, 40)), max_size=6)
    tail = draw(st.text("cdefgh", max_size=80))
    sides = []
    for lone in ("XYZ", "uvw"):
        text = list("".join(piece * count for piece, count in draw(repeats))[:600])
        for at in range(draw(st.integers(0, 40)), len(text), draw(st.integers(5, 60))):
            text[at] = lone[at % 3]
        sides.append("".join(text) + tail)
    return sides


@settings(EXAMPLES, max_examples=50)
@given(repetitive(), st.booleans())
def test_repetitive_strings_equal_difflib(sides, autojunk):
    wide = [text.translate({ord(c): 0x4E00 + ord(c) for c in text}) for text in sides]
    _assert_equal(*sides, autojunk)
    _assert_equal(*wide, autojunk)


@EXAMPLES
@given(st.text(max_size=300), st.text(max_size=300), st.booleans())
def test_any_text_equals_difflib(a, b, autojunk):
    _assert_equal(a, b, autojunk)


@settings(max_examples=20, deadline=None)
@given(st.lists(pairs(ALPHABETS, SHORT), max_size=40), st.sampled_from([1, 2, 3]))
def test_batches_equal_single_ratios(several, threads):
    a = ["".join(pair[0]) for pair in several]
    b = ["".join(pair[1]) for pair in several]
    assert ratio_batch(a, b, threads=threads) == list(map(ratio, a, b))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pairs(ALPHABETS, st.integers(1_000, 4_000)), st.booleans())
def test_long_strings_equal_difflib(pair, autojunk):
    a, b = map("".join, pair)
    _assert_equal(a, b, autojunk)
