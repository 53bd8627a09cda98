"""The sequence functions against CPython's difflib: values, errors, caching, threads."""

import difflib
import math
import os
import pickle
import subprocess
import sys
import threading
import time

import pytest

from srl_reward import _native
from srl_reward.sequence import Match, SequenceMatcher, matching_blocks, ratio, ratio_batch

PAIRS = [
    ("", ""),
    ("", "abc"),
    ("abc", ""),
    ("abcd", "bcde"),
    ("qabxcd", "abycdf"),
    ("private Thread currentThread;", "private volatile Thread currentThread;"),
    ("aXbXc", "abc" * 100),
    ("\ud800x\udfff", "x\udfff\ud800"),
    ("naïve café " * 30, "naive cafés " * 30),
    ("数学の問題を解く" * 40, "数学問題の解き方" * 40),
    ("𝔸𝔹ℂ🙂", "ℂ🙂𝔸𝔹"),
    ([1, 2, 3, 4], [2, 3, 5, 1]),
    ((1, 2), [1, 2, 3]),
    (["a", "b", ("c", 1)], ["b", ("c", 1), "a"]),
    ([1, 1.0, True, 2], [True, 1, 2.0]),
    ([2**80, -(2**63), 2**63 - 1], [-(2**63), 2**63 - 1, 2**80]),
    ("abc", ["a", "b", "c"]),
    ("abc", [97, 98, 99]),
    ([97, 98, 99] * 80, "abcé" * 60),
    (b"bytes and bytes", b"bytes or bytes"),
    (range(50), list(range(10, 60))),
]


@pytest.mark.parametrize(("a", "b"), PAIRS)
@pytest.mark.parametrize("autojunk", [True, False])
def test_everything_equals_difflib(a, b, autojunk):
    theirs = difflib.SequenceMatcher(None, a, b, autojunk)
    ours = SequenceMatcher(None, a, b, autojunk)
    assert ours.get_matching_blocks() == theirs.get_matching_blocks()
    assert ours.get_opcodes() == theirs.get_opcodes()
    assert list(ours.get_grouped_opcodes(2)) == list(theirs.get_grouped_opcodes(2))
    assert ratio(a, b, autojunk=autojunk) == theirs.ratio()
    assert SequenceMatcher(None, a, b, autojunk).ratio() == theirs.ratio()
    assert ours.quick_ratio() == theirs.quick_ratio()
    assert ours.real_quick_ratio() == theirs.real_quick_ratio()
    assert ours.find_longest_match() == theirs.find_longest_match()
    assert matching_blocks(a, b, autojunk=autojunk) == theirs.get_matching_blocks()
    assert (ours.b2j, ours.bjunk, ours.bpopular) == (theirs.b2j, theirs.bjunk, theirs.bpopular)
    assert list(ours.b2j) == list(theirs.b2j)


def test_a_known_ratio():
    assert ratio("abcd", "bcde") == 0.75
    assert ratio("", "") == 1.0
    assert matching_blocks("abxcd", "abcd") == [Match(0, 0, 2), Match(3, 2, 2), Match(5, 4, 0)]


def test_the_cliff_at_two_hundred_characters():
    text = "the quick brown fox jumps over the lazy dog; " * 8
    assert (
        ratio(text[1:199], text[:199])
        == difflib.SequenceMatcher(None, text[1:199], text[:199]).ratio()
    )
    assert ratio(text, text[1:], autojunk=False) > ratio(text, text[1:])


def test_bounds_equal_difflib():
    a, b = "the cat sat on the mat" * 12, "the mat sat on the cat" * 12
    ours, theirs = SequenceMatcher(None, a, b), difflib.SequenceMatcher(None, a, b)
    for bounds in [
        (0, 5, 3, 9),
        (7, None, 0, 30),
        (4, 4, 1, 8),
        (100, 200, 50, 260),
        (-3, 5, 0, 4),
    ]:
        assert ours.find_longest_match(*bounds) == theirs.find_longest_match(*bounds)
    with pytest.raises(IndexError):
        ours.find_longest_match(0, len(a) + 1)


def test_junk_equals_difflib():
    calls = []

    def is_junk(element):
        calls.append(element)
        return element in " e"

    a, b = "the cat sat on the mat " * 12, "the mat sat on the catty " * 12
    ours, theirs = SequenceMatcher(is_junk, a, b), difflib.SequenceMatcher(is_junk, a, b)
    assert calls[: len(calls) // 2] == calls[len(calls) // 2 :]
    assert ours.get_opcodes() == theirs.get_opcodes()
    assert ours.ratio() == theirs.ratio()
    assert ours.bjunk == {" ", "e"}
    assert ours.bpopular == theirs.bpopular


def test_nan_is_found_by_identity_alone():
    nan = math.nan
    a, b = [nan, 1.0, 2.0] * 100, [1.0, nan, 2.0, nan] * 80
    for autojunk in (True, False):
        ours = SequenceMatcher(None, a, b, autojunk)
        theirs = difflib.SequenceMatcher(None, a, b, autojunk)
        assert ours.get_matching_blocks() == theirs.get_matching_blocks()
        assert ours.find_longest_match(3, 60, 5, 80) == theirs.find_longest_match(3, 60, 5, 80)


def test_elements_that_are_not_hashable_are_refused_when_difflib_refuses_them():
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        SequenceMatcher(None, [], [[1]])
    matcher = SequenceMatcher(None, [[1]], [1])
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        matcher.get_matching_blocks()
    with pytest.raises(TypeError, match="unhashable"):
        ratio([{}], [1])


def test_results_are_cached_as_in_difflib():
    matcher = SequenceMatcher(None, "abcd", "bcde")
    blocks, opcodes = matcher.get_matching_blocks(), matcher.get_opcodes()
    assert matcher.get_matching_blocks() is blocks
    assert matcher.get_opcodes() is opcodes
    matcher.set_seq1("bcde")
    assert matcher.ratio() == 1.0
    assert matcher.get_matching_blocks() == [(0, 0, 4), (4, 4, 0)]
    assert matcher.b2j == {"b": [0], "c": [1], "d": [2], "e": [3]}
    matcher.set_seq2("xyz")
    assert matcher.b2j == {"x": [0], "y": [1], "z": [2]}
    matcher.set_seqs([1, 2], [2, 1])
    assert matcher.ratio() == 0.5
    assert matcher.fullbcount is None


def test_autojunk_may_be_any_truth_value():
    for autojunk in (0, 1, None, "yes"):
        theirs = difflib.SequenceMatcher(None, "abc" * 90, "bca" * 80, autojunk)
        assert SequenceMatcher(None, "abc" * 90, "bca" * 80, autojunk).ratio() == theirs.ratio()


def test_it_is_a_difflib_matcher():
    assert isinstance(SequenceMatcher(), difflib.SequenceMatcher)
    assert SequenceMatcher[str] is not None
    with pytest.raises(AttributeError, match="'SequenceMatcher' object has no attribute 'b2k'"):
        SequenceMatcher().b2k  # noqa: B018


def test_a_subclass_may_replace_the_longest_match():
    class Empty(SequenceMatcher):
        def find_longest_match(self, alo=0, ahi=None, blo=0, bhi=None):
            return Match(alo, blo, 0)

    assert Empty(None, "abc", "abc").get_matching_blocks() == [Match(3, 3, 0)]
    assert Empty(None, "abc", "abc").ratio() == 0.0


def test_a_subclass_of_str_keeps_its_own_iteration():
    class Backwards(str):
        __slots__ = ()

        def __iter__(self):
            return reversed(str(self))

        def __getitem__(self, at):
            return str(self)[::-1][at]

    theirs = difflib.SequenceMatcher(None, Backwards("abcd"), Backwards("bcdx"), False)
    assert ratio(Backwards("abcd"), Backwards("bcdx"), autojunk=False) == theirs.ratio()


def test_a_batch_equals_single_ratios(monkeypatch):
    texts = [f"step {i}: {'ab' * (i % 90)} and {i * i}" for i in range(500)]
    expected = [ratio(a, b) for a, b in zip(texts, reversed(texts), strict=True)]
    for threads in (None, 1, 2, 7):
        assert ratio_batch(texts, texts[::-1], threads=threads) == expected
    monkeypatch.setenv("SRL_REWARD_THREADS", "2")
    assert ratio_batch(texts, texts[::-1]) == expected
    assert ratio_batch([], []) == []
    assert ratio_batch([[1, 2], ("x",)], [[2, 1], ("x",)]) == [0.5, 1.0]


def test_bad_batches_say_what_is_wrong(monkeypatch):
    with pytest.raises(ValueError, match="got 2 and 1"):
        ratio_batch(["a", "b"], ["a"])
    with pytest.raises(ValueError, match='threads is "0"'):
        ratio_batch(["a"], ["a"], threads=0)
    monkeypatch.setenv("SRL_REWARD_THREADS", "many")
    with pytest.raises(ValueError, match='SRL_REWARD_THREADS is "many"'):
        ratio_batch(["a"], ["a"])


def test_native_leaves_what_it_cannot_read():
    assert _native.known_ratio("abc", 3, True) is None
    assert _native.blocks([1, 2.0], [1], True) is None
    assert _native.ratio_batch(["a", [2**64]], ["a", [1]]) is None
    with pytest.raises(ValueError, match="code 4"):
        _native.JunkIndex([4], [False], True)
    with pytest.raises(ValueError, match="out of order or outside"):
        _native.JunkIndex([0], [False], True).longest([0], (0, 2), (0, 1))


def test_threads_may_share_the_functions():
    texts = [("spam " * n, "eggs and spam " * n) for n in range(1, 60)]
    expected = [ratio(a, b) for a, b in texts]
    seen = []
    workers = [
        threading.Thread(target=lambda: seen.append([ratio(a, b) for a, b in texts]))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == [expected] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_can_score():
    texts = ["once upon a time " * 400] * 8
    expected = ratio_batch(texts, texts[::-1], threads=2)
    child = os.fork()
    if child == 0:
        os._exit(ratio_batch(texts, texts[::-1], threads=2) != expected)
    assert os.waitpid(child, 0)[1] == 0


INTERRUPTED = """
import os, random, signal, sys, threading
from srl_reward.sequence import ratio_batch
random.seed(1)
texts = ["".join(random.choices("ab", k=int(sys.argv[1]))) for _ in range(100)]
texts *= int(sys.argv[2])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    ratio_batch(texts, texts[::-1], autojunk=False, threads=2)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize(("length", "repeats"), [(60_000, 10), (300, 20_000)])
def test_a_long_batch_can_be_interrupted(length, repeats):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(length), str(repeats)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "interrupted\n"
    assert time.monotonic() - began < 20


def test_the_functions_pickle_by_name():
    assert pickle.loads(pickle.dumps(ratio)) is ratio


def test_a_matcher_pickles():
    matcher = SequenceMatcher(None, ("a", 1, None), ("a", None))
    blocks = matcher.get_matching_blocks()
    again = pickle.loads(pickle.dumps(matcher))
    assert again.get_matching_blocks() == blocks
    again.set_seq1(("a",))
    assert again.ratio() == 2 / 3
