"""`difflib.SequenceMatcher = srl_reward.SequenceMatcher`: a library that cannot be edited, sped up.

Each check has a process of its own, since the swap is of a module that everything shares.
"""

import subprocess
import sys
from importlib.util import find_spec

import pytest

PYTHONS_OWN = """
import difflib, unittest
import srl_reward
difflib.SequenceMatcher = srl_reward.SequenceMatcher
import test.test_difflib as own
result = unittest.main(module=own, argv=["own"], exit=False).result
assert own.difflib.SequenceMatcher is srl_reward.SequenceMatcher
print(result.testsRun, result.wasSuccessful())
"""

TOOLS = """
import difflib
from srl_reward import SequenceMatcher
a = [f"line {number} of the text\\n" for number in range(300)]
b = [*a[:40], "another line 41\\n", *a[42:250], "line 25O of the text\\n", *a[251:], "end\\n"]
words = ["ape", "apple", "peach", "puppy", "a" * 250 + "b"]
def shown():
    return [
        difflib.get_close_matches("appel", words),
        difflib.get_close_matches("a" * 250, words, n=1, cutoff=0.1),
        list(difflib.unified_diff(a, b)),
        list(difflib.context_diff(a, b)),
        list(difflib.ndiff(a, b)),
        list(difflib.Differ(charjunk=str.isspace).compare(a, b)),
        list(difflib.restore(difflib.ndiff(a, b), 2)),
        list(difflib.diff_bytes(difflib.unified_diff, [b"a", b"b"], [b"b"])),
        difflib.HtmlDiff().make_file(a, b, context=True),
        difflib.SequenceMatcher(str.isspace, " abcd", "abcd abcd").get_opcodes(),
        list(difflib.SequenceMatcher(None, a, b).get_grouped_opcodes(1)),
    ]
before, bpopular = shown(), difflib.SequenceMatcher(None, "", "ab" * 200).bpopular
difflib.SequenceMatcher = SequenceMatcher
assert SequenceMatcher(None, "", "ab" * 200).bpopular == bpopular == {"a", "b"}
class Mine(difflib.SequenceMatcher):
    pass
assert Mine(None, "abcd", "bcde").ratio() == 0.75
difflib.HtmlDiff._default_prefix = 0
print(shown() == before)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


SHIPS_TESTS = find_spec("test") is not None and find_spec("test.test_difflib") is not None


@pytest.mark.skipif(not SHIPS_TESTS, reason="this Python ships no tests of its own")
def test_pythons_own_tests_of_difflib_pass_with_our_class_in_its_place() -> None:
    done = run(PYTHONS_OWN)
    count, successful = done.stdout.split()
    assert successful == "True", done.stderr
    assert int(count) > 30, done.stderr


def test_difflibs_own_tools_give_the_same_with_our_class_in_its_place() -> None:
    done = run(TOOLS)
    assert (done.stdout.strip(), done.stderr) == ("True", "")
