"""Thinking in a solution column: taken out, refused where it is open, counted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data.build import BuildConfig, build
from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.manifest import read_manifest
from srl_data.records import SftPair, SrlInstance, read_records
from srl_data.solutions import ExpertSolution, Fields, Refusal, read_solution
from srl_data.thinking_blocks import without_thinking

ANSWER = "1. Read the problem.\n\n2. So it is 5."
THOUGHT = "1. Read.\n2. No, wait."
MARKS = [
    ("<think>", "</think>"),
    ("<Thinking>", "</Thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_closed_thinking_goes_whichever_its_marks(opening, closing):
    whole = f"{opening}\n{THOUGHT}{closing}\n\n{ANSWER}"
    assert without_thinking(whole) == (ANSWER, 1)
    assert without_thinking(f"{THOUGHT}{closing}\n\n{ANSWER}") == (ANSWER, 1)
    assert without_thinking(f"{ANSWER}\n{opening}Hm.") is None
    assert without_thinking(f"{opening}a{closing}{ANSWER}\n{opening}b") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ANSWER, (ANSWER, 0)),
        (f"  {ANSWER}\n", (f"  {ANSWER}\n", 0)),
        ("<think>a</think>1. b\n<think>c</think>\n2. d", ("1. b\n\n2. d", 2)),
        ("<think>a <think>b</think> c</think>1. d", ("1. d", 1)),
        ("a</think>b</think>1. c", ("1. c", 2)),
        ("Before. <think>a</think>1. b", ("Before. 1. b", 1)),
        ("<think>a</think><answer>1. b</answer>", ("1. b", 1)),
        (
            (
                "<|begin_of_thought|>a<|end_of_thought|>\n"
                "<|begin_of_solution|>\n1. b\n<|end_of_solution|>"
            ),
            ("1. b", 1),
        ),
        ("<think>a", None),
        ("<think>a</think><think>", None),
        ("<think>a</think>", ("", 1)),
        ("x < y and y > think", ("x < y and y > think", 0)),
    ],
)
def test_blocks_are_taken_out_and_counted(text, expected):
    assert without_thinking(text) == expected


@given(st.lists(st.sampled_from(["<think>", "</think>", "[THINK]", "[/THINK]", "1. a\n", "b "])))
def test_what_is_left_holds_no_thinking(parts):
    found = without_thinking("".join(parts))
    if found is not None:
        assert without_thinking(found[0]) == (found[0], 0)


def reason(text):
    found = read_solution({"p": "x", "s": text}, Fields("p", "s"), "keep")
    return found.reason if isinstance(found, Refusal) else [step.text for step in found.steps]


def test_no_step_is_made_of_thinking():
    assert reason(f"<think>\n{THOUGHT}</think>\n{ANSWER}") == [
        "1. Read the problem.",
        "2. So it is 5.",
    ]
    assert reason(f"<think>\n{THOUGHT}</think>\nIt is 5.") == "no_headings"
    assert reason(f"<think>\n{THOUGHT}") == "unclosed_thinking"
    assert reason(f"<think>\n{THOUGHT}</think>") == "only_thinking"
    kept = read_solution({"p": "x", "s": f"<think>a</think>{ANSWER}"}, Fields("p", "s"), "keep")
    assert isinstance(kept, ExpertSolution)
    assert (kept.text, kept.thinking_blocks) == (ANSWER, 1)


def test_the_build_says_how_many_and_writes_none_of_it(tmp_path, capsys):
    texts = [
        f"<think>\n{THOUGHT}</think>\n{ANSWER}",
        f"[THINK]{THOUGHT}[/THINK]{ANSWER}",
        ANSWER,
        f"<think>{ANSWER}",
    ]
    source = tmp_path / "s.jsonl"
    rows = [{"question": f"Q{n}", "solution": text} for n, text in enumerate(texts)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "o.jsonl"
    argv = ["build", "s1k", "--source", source, "--field", "solution", "--val-size", 0, "--sft"]
    assert execute(cli, "srl-data", [*map(str, argv), "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    assert "Thinking was taken out of 2 of them." in shown
    assert "unclosed_thinking" in shown
    manifest = read_manifest(output)
    assert manifest.counts["solutions_with_thinking_removed"] == 2
    assert manifest.excluded == {"unclosed_thinking": ["s1k-00003"]}
    instances = list(read_records(output, SrlInstance))
    assert [item.target_step for item in instances] == ["2. So it is 5."] * 3
    pairs = list(read_records(tmp_path / "o.sft.jsonl", SftPair))
    assert [pair.response for pair in pairs] == [ANSWER] * 3


def test_a_column_of_open_thinking_alone_is_refused_with_its_reason(tmp_path):
    source = tmp_path / "s.jsonl"
    source.write_text(json.dumps({"question": "Q", "solution": f"<think>{ANSWER}"}) + "\n")
    config = BuildConfig(source=str(source), field="solution", output=tmp_path / "o.jsonl")
    with pytest.raises(Exception, match="unclosed_thinking: 1"):
        build(config)
