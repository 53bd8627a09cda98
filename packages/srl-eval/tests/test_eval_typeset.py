"""Formulas in texts of models: found, made into known elements, and harmless."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srl_eval.typeset import (
    ATTRIBUTES,
    ELEMENTS,
    LONGEST,
    NotTypesetError,
    Tree,
    Typesetter,
    count_nodes,
    formulas,
    to_tree,
)


def found(text: str) -> list[str]:
    return [text[start:end] for start, end, _, _ in formulas(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so $x=1$ and $y$.", ["$x=1$", "$y$"]),
        (r"\(a\) or \[b\]", [r"\(a\)", r"\[b\]"]),
        ("$$\nx\n$$", ["$$\nx\n$$"]),
        ("a $5 hat and a $10 coat", []),
        ("from $5 to $7, that is $2", []),
        ("9 * 2 = $18 a day, 18*5=$90", []),
        ("($5)+($3)", []),
        ("a \\$5 hat, x is $\\$5$", ["$\\$5$"]),
        ("$x\n\ny$", []),
        ("$ x$ and $x $", []),
        (r"line\\[4pt] next \(x\)", [r"\(x\)"]),
        ("$$$$ and", []),
        (r"open \( never closed", []),
        ("$" + "x" * LONGEST + "$", ["$" + "x" * LONGEST + "$"]),
        ("$" + "x" * (LONGEST + 1) + "$", []),
    ],
)
def test_where_formulas_are(text: str, expected: list[str]) -> None:
    assert found(text) == expected


def text_of(tree: Tree) -> str:
    return "".join(part if isinstance(part, str) else text_of(part) for part in tree[2:])  # type: ignore[arg-type]


def test_a_fraction_is_one() -> None:
    tree = to_tree(r"\frac{a}{2}", displayed=True)
    assert tree == [
        "math",
        {"display": "block"},
        ["mrow", {}, ["mfrac", {}, ["mrow", {}, ["mi", {}, "a"]], ["mrow", {}, ["mn", {}, "2"]]]],
    ]


def test_a_box_has_our_own_class_alone() -> None:
    bar = to_tree(r"\overline{AB}")[2][2][3]
    assert bar == ["mo", {"accent": "true", "stretchy": "true"}, "\u203e"]
    assert to_tree(r"\framebox{7}") == to_tree(r"\fbox {7}") == to_tree(r"\boxed{7}")
    assert to_tree(r"\boxed{7}")[2] == [
        "mrow",
        {},
        ["mrow", {"class": "boxed"}, ["mrow", {}, ["mn", {}, "7"]]],
    ]


def test_characters_are_characters() -> None:
    assert text_of(to_tree(r"a \leq b \times \pi")) == "a≤b×π"
    assert text_of(to_tree(r"\text{if } x < y")) == "if\u00a0x<y"


def test_a_gap_between_rows_is_no_text() -> None:
    assert text_of(to_tree(r"\begin{aligned}x\\[2pt]y\end{aligned}")) == "xy"


HOSTILE = [
    r"\text{<script>alert(1)</script>}",
    r"\href{javascript:alert(1)}{x}",
    r"\class{evil}{x}",
    r"\style{background:url(//evil)}{x}",
    r'\text{" onload="alert(1)}',
    r"\color{red' onclick='alert(1)}x",
    r"\textcolor{url(javascript:1)}{x}",
    r"\colorbox{red}{x}",
    r"&lt;script&gt;alert(1)&lt;/script&gt;",
    r"&#x3c;img src=x onerror=alert(1)&#x3e;",
    r"\mathrm{<iframe>}",
    r"\begin{array}{c' onmouseover='x}1\end{array}",
    r"\begin{matrix}<svg onload=alert(1)>\end{matrix}",
    r"\tag{<b>}x",
    r"\hspace{9999em}\rule{999em}{999em}\kern-900em x",
    r"\verb|<script>|",
    r"\operatorname{<script>}",
    r"\fbox{<script>}",
]


def every_node(tree: Tree) -> list[Tree]:
    inner = [node for child in tree[2:] if isinstance(child, list) for node in every_node(child)]
    return [tree, *inner]


def assert_harmless(tree: Tree) -> None:
    for tag, attributes, *_ in every_node(tree):
        assert tag in ELEMENTS
        assert isinstance(attributes, dict)
        assert set(attributes) <= ATTRIBUTES | {"class"}
        assert attributes.get("class", "boxed") == "boxed"
        for value in attributes.values():
            assert not set(value) & set("<>\"'&:;()/\\")
            assert "999" not in value


@pytest.mark.parametrize("tex", HOSTILE)
def test_hostile_formulas_bring_no_attribute_and_no_element(tex: str) -> None:
    try:
        tree = to_tree(tex)
    except NotTypesetError:
        return
    assert_harmless(tree)


@pytest.mark.parametrize(
    ("tex", "reason"),
    [
        ("x" * (LONGEST + 1), "601 characters"),
        (r"\newcommand{\a}{x}\a", "it defines a macro"),
        (r"\def\a{\a\a}\a", "it defines a macro"),
        (r"\left( x", "ExtraLeftOrMissingRightError|NoAvailableTokensError"),
        ("{" * 300 + "}" * 300, "deeper than 40"),
        (r"\nonsense{x}", "unknown command"),
        (r"\cancel{x}", "element 'menclose'"),
        ("a^b^c", "DoubleSuperscriptsError"),
    ],
)
def test_what_is_not_understood_stays_as_written(tex: str, reason: str) -> None:
    with pytest.raises(NotTypesetError, match=reason):
        to_tree(tex)


def restored(pieces: list[str | int], typesetter: Typesetter) -> str:
    return "".join(p if isinstance(p, str) else typesetter.formulas[p][0] for p in pieces)


_FRAGMENTS = [
    *(
        "$",
        "$$",
        r"\(",
        r"\)",
        r"\[",
        r"\]",
        "\\",
        "{",
        "}",
        "^",
        "_",
        "&",
        "\n",
        "<",
        ">",
        "]",
        "'",
    ),
    *(r"\frac", r"\left(", r"\right)", r"\begin{matrix}", r"\end{matrix}", r"\sqrt[", r"\text{"),
    *("'", "x", " ", "7", "%", "\0", "\ud800", "é", r"\limits", r"\substack{", r"\over"),
    *HOSTILE,
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(_FRAGMENTS), max_size=30).map("".join) | st.text(max_size=60))
def test_any_text_comes_back_whole_and_harmless(text: str) -> None:
    typesetter = Typesetter()
    for given_text in (text, f"${text}$", f"\\[{text}\\]"):
        assert restored(typesetter.pieces(given_text), typesetter) == given_text
    for _, tree in typesetter.formulas:
        assert_harmless(tree)


@pytest.mark.parametrize(
    "text",
    [
        "$" * 8000,
        r"\(" * 4000,
        r"\(x" * 2700,
        "$x " * 2700,
        "$" + "{" * 598 + "}$",
        "".join(f"$a_{{{n}}}^" + "{" * 200 + "$ " for n in range(35)),
        "".join("$" + r"\frac{" * 90 + f"{n}$ " for n in range(14)),
        "".join("$" + "&" * 590 + f"{n}$ " for n in range(13)),
    ],
)
def test_a_hostile_response_does_not_hang(text: str) -> None:
    typesetter = Typesetter()
    started = time.monotonic()
    assert restored(typesetter.pieces(text), typesetter) == text
    assert time.monotonic() - started < 20


def test_a_formula_is_held_once_and_the_budget_is_kept() -> None:
    typesetter = Typesetter(budget=10)
    assert typesetter.pieces("$a$ and $a$") == [0, " and ", 0]
    assert typesetter.pieces("$b+c+d+e+f$") == [1]
    assert typesetter.pieces("$g$ $a$") == ["$g$ ", 0]
    assert typesetter.left_out == 1
    assert count_nodes(typesetter.formulas[0][1]) == 3
    idle = Typesetter(effort=0)
    assert idle.pieces("$a$") == ["$a$"]


@pytest.mark.skipif("SRL_TEST_DATA" not in os.environ, reason="needs SRL_TEST_DATA")
def test_real_solutions_are_typeset() -> None:
    path = Path(os.environ["SRL_TEST_DATA"]) / "math500" / "test.jsonl"
    texts = [json.loads(line)["solution"] for line in path.read_text().splitlines()]
    typesetter = Typesetter()
    for text in texts:
        assert restored(typesetter.pieces(text), typesetter) == text
    sources = {source for text in texts for source in found(text)}
    assert len(typesetter.formulas) > 0.95 * len(sources)
    for _, tree in typesetter.formulas:
        assert_harmless(tree)


@pytest.mark.parametrize("name", ["aligned", "align", "align*", "eqnarray"])
def test_aligned_equations_are_a_table_without_numbers(name: str) -> None:
    tree = to_tree(rf"\begin{{{name}}}x&=1\\[4pt]y&=2\end{{{name}}}")
    assert tree == to_tree(r"\begin{align*}x&=1\\y&=2\end{align*}")
    assert str(tree).count("'mtr'") == 2
    assert "(1)" not in str(tree)


@pytest.mark.parametrize("tex", [r"\begin{tikzpicture}a&b\end{tikzpicture}", "a & b"])
def test_what_would_be_flattened_stays_as_written(tex: str) -> None:
    with pytest.raises(NotTypesetError):
        to_tree(tex)
