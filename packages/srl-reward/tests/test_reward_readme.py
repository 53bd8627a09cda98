"""The README's examples print what they say."""

import doctest
from importlib.util import find_spec
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.skipif(not README.exists(), reason="tests run away from the checkout")
def test_the_readmes_examples_hold() -> None:
    text = README.read_text(encoding="utf-8")
    found = doctest.DocTestParser().get_doctest(text, {}, README.name, str(README), 0)
    if find_spec("math_verify") is None:  # the extra `math` is not installed
        found.examples = [each for each in found.examples if '"math"' not in each.source]
    assert len(found.examples) >= 7
    assert doctest.DocTestRunner().run(found).failed == 0
