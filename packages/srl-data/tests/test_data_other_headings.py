"""Steps as people write them that are no headings here: refused by the name of what was found."""

import json

import pytest

from srl_data.build import BuildConfig, build
from srl_data.cli import cli
from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_data.manifest import read_manifest
from srl_data.solutions import Fields, Refusal, read_solution

LEFT, RIGHT, DOT, COLON, ONE, TWO = "\uff08", "\uff09", "\uff0e", "\uff1a", "\uff11", "\uff12"
"""Full-width brackets, punctuation and digits."""

FOUND = {
    "(1)": "(1) Let x.\n(2) Then y.",
    "[1]": "[1] Let x.\n[2] Then y.",
    "(a)": "(a) Let x.\n\n(b) Then y.",
    "(i)": "(i) Let x.\n(ii) Then y.",
    f"{LEFT}{ONE}{RIGHT}": f"{LEFT}{ONE}{RIGHT}a\n{LEFT}{TWO}{RIGHT}b",
    f"{ONE}{DOT}": f"{ONE}{DOT}a\n{TWO}{DOT}b",
    f"1{COLON}": f"1{COLON}a\n2{COLON}b",
    "1、": "1、a\n2、b",
    "步骤1": "步骤1:a\n步骤2:b",
    f"步骤{ONE}": f"步骤{ONE}{COLON}a\n步骤{TWO}{COLON}b",
    "步骤一": "步骤一:a\n步骤二:b",
    "**步骤 1": "**步骤 1** a\n\n**步骤 2** b",
    "第一步": "第一步,a\n第二步,b",
    "第1步": "第1步:a\n第2步:b",
    "一、": "一、a\n二、b",
    "①": "① a\n② b",
    "I.": "I. Let x.\nII. Then y.\nIII. So z.",
    "ii)"[1:]: "i) Let x.\nii) Then y.",
    "A.": "A. Let x.\nB. Then y.",
    "Step One": "Step One: Let x.\nStep Two: Then y.",
    "STEP I": "STEP I: Let x.\nSTEP II: Then y.",
    "Step #1": "Step #1: Let x.\nStep #2: Then y.",
    "Step (1": "Step (1): Let x.\nStep (2): Then y.",
    "- Step 1": "- Step 1: Let x.\n- Step 2: Then y.",
    "> 1.": "> 1. Let x.\n> 2. Then y.",
    "* 1.": "* 1. Let x.\n* 2. Then y.",
    "=== Step 1": "=== Step 1 ===\nLet x.\n=== Step 2 ===\nThen y.",
    "\\textbf{Step 1": "\\textbf{Step 1:} Let x.\n\\textbf{Step 2:} Then y.",
    "\\section*{Step 1": "\\section*{Step 1}\nLet x.\n\\section*{Step 2}\nThen y.",
    "<step 1>": "<step 1>Let x.</step>\n<step 2>Then y.</step>",
    "<step>": "<step>Let x.</step>\n<step>Then y.</step>",
    "## 1": "## 1\nLet x.\n\n## 2\nThen y.",
    "1 -": "1 - Let x.\n2 - Then y.",
    "1.1": "1.1 Let x.\n1.2 Then y.",
    "First": "First, let x.\n\nSecond, then y.",
    "Firstly": "Firstly let x.\n\nSecondly then y.",
    "Part 1": "Part 1: Let x.\nPart 2: Then y.",
    "Schritt 1": "Schritt 1: a\nSchritt 2: b",
    "Étape 1": "Étape 1 : a\nÉtape 2 : b",
    "Шаг 1": "Шаг 1. a\nШаг 2. b",
    "ステップ1": "ステップ1:a\nステップ2:b",
    "1단계": "1단계: a\n2단계: b",
    "\u0661.": "\u0661. a\n\u0662. b",
    "\\item": "\\begin{enumerate}\n\\item a\n\\item b\n\\end{enumerate}",
    "##": "## Set up\nLet x.\n\n## Solve\nThen y.",
    "-": "- Let x.\n- Then y.",
    "   2.": "   1. Let x.\n   2. Then y.",
    "Step 2": "Step 1: Let x. Step 2: Then y.",
    "2.": "1. Let x. 2. Then y. 3. So z.",
}
READ = {
    "Step 1:": "Step 1: Let x.\nStep 2: Then y.",
    "### Step 1": "### Step 1\nLet x.\n\n### Step 2\nThen y.",
    "**Step 1**": "**Step 1**\nLet x.\n\n**Step 2**\nThen y.",
    "1)": "1) Let x.\n2) Then y.",
}
PLAIN = [
    ("The answer is 42.", "no_headings"),
    ("42", "no_headings"),
    ("Let x be 3. Then (1) holds, and so does (2).", "no_headings"),
    ("(1) is clear from the figure.\nHence x = 2.", "no_headings"),
    ("In 1987 he won.\nI. Newton lost.", "no_headings"),
    ("- 3", "no_headings"),
    ("1. Let x.\nThen y.", "single_step"),
    ("1. Cases:\n   1. even\n   2. odd", "single_step"),
    ("1. Let x be\n- even\n- odd", "single_step"),
]


def read(text):
    return read_solution({"p": "x", "s": text}, Fields("p", "s"), "keep")


@pytest.mark.parametrize("heading", FOUND)
def test_what_was_found_is_named(heading):
    assert read(FOUND[heading]) == Refusal("other_headings", heading)


@pytest.mark.parametrize("heading", READ)
def test_what_is_read_is_not_refused(heading):
    assert len(read(READ[heading]).steps) == 2


@pytest.mark.parametrize(("text", "reason"), PLAIN)
def test_prose_is_called_prose(text, reason):
    assert read(text) == Refusal(reason)


def write_source(path, texts):
    rows = [{"question": f"Q{n}", "solution": text} for n, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_table_and_manifest_count_the_spellings(tmp_path, capsys):
    texts = [READ["1)"], FOUND["(1)"], FOUND["(1)"], FOUND["步骤1"], "42"]
    source = write_source(tmp_path / "s.jsonl", texts)
    output = tmp_path / "o.jsonl"
    argv = ["build", "s1k", "--source", source, "--field", "solution", "--val-size", "0"]
    assert execute(cli, "srl-data", [*argv, "--output", str(output)]) == 0
    manifest = read_manifest(output)
    assert manifest.reasons == {"no_headings": 1, "other_headings": 3}
    assert manifest.headings == {"(1)": 2, "步骤1": 1}
    shown = " ".join(capsys.readouterr().out.split())
    assert "'(1)' 2" in shown
    assert "'步骤1' 1" in shown


def test_where_nothing_else_is_there_the_error_names_them(tmp_path):
    source = write_source(tmp_path / "s.jsonl", [FOUND["步骤1"]] * 3)
    config = BuildConfig(source=source, field="solution", output=tmp_path / "o.jsonl")
    with pytest.raises(DataError, match=r"other_headings: 3: .*theirs begin with '步骤1'"):
        build(config)
