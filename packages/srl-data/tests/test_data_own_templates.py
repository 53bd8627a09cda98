"""A user's own template: a text file with fields or a function, kept by a checkpoint's record."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data.command.errors import ConfigError, DataError
from srl_data.own_templates import MAX_BYTES, open_template, text_template
from srl_data.prompt_record import PromptRecord, read_record, record_of, write_record
from srl_data.prompts import TEMPLATES, get_template
from srl_data.template_choice import choose_template, recorded_template

STEPS = ["1. **Ones** 6.", "2. **Tens** 4."]


def said(template, **columns):
    (message,) = template.messages(**columns)
    assert message["role"] == "user"
    return message["content"]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a file into the working folder and gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(content, name="own.txt"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write


def test_fields_are_filled_in_and_doubled_braces_are_braces(written):
    text = "Q: {problem}\n{previous_steps}\n{step_index}. {title}: \\boxed{{…}} {{problem}}\n"
    template = open_template(written(text))
    assert said(template, problem="12+34", previous_steps=STEPS, title="Sum") == (
        "Q: 12+34\n1. **Ones** 6.\n\n2. **Tens** 4.\n3. Sum: \\boxed{…} {problem}"
    )
    assert said(template, problem="p") == "Q: p\n\n1. : \\boxed{…} {problem}"
    assert (template.name, template.stepwise, template.thinks) == ("own.txt", True, False)


@given(st.text(min_size=1).filter(str.strip))
def test_a_value_s_own_braces_and_fields_stay_as_they_are(problem):
    template = text_template("<{problem}>{problem}", "own")
    assert said(template, problem=problem) == f"<{problem}>{problem}"


def test_latex_and_fields_inside_values_stay_as_they_are():
    template = text_template("{problem}|{previous_steps}", "own")
    problem = "\\frac{1}{2} {title} {0} {previous_steps} {{x}} %s ${y}"
    assert said(template, problem=problem, previous_steps=["{problem}"]) == f"{problem}|{{problem}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{problem}\n{problen}", r"line 2: unknown field {problen}; did you mean {problem}\?"),
        ("{problem} {colour}", "unknown field {colour}; there are {problem}, {previous_steps}"),
        ("{problem} {target_step}", "{target_step} is what the model has to write"),
        ("{problem} {answer}", "{answer} is what the model has to find"),
        ("{problem} {num_steps}", "is not known when the model is evaluated"),
        ("{problem.__class__}", "'{problem.__class__}' is not a field"),
        ("{problem!r}", "'{problem!r}' is not a field"),
        ("{problem:>9}", "'{problem:>9}' is not a field"),
        ("{problem[0]}", "is not a field"),
        ("{0}", "is not a field"),
        ("{problem} \\boxed{}", "'{}' is not a field.*a brace that is meant as such is doubled"),
        ("{problem} {", "line 1: '{' is not a field"),
        ("{problem} }", "'}' is not a field"),
        ("Solve it.", "has no field {problem}, so that every prompt would be the same"),
        ("{{problem}}", "has no field {problem}"),
    ],
)
def test_a_text_with_a_wrong_field_is_refused(text, message, written):
    with pytest.raises(ConfigError, match=message):
        open_template(written(text))


def test_a_file_that_is_no_template_s_text_is_refused(written, tmp_path):
    with pytest.raises(ConfigError, match=r"--template 'none\.txt' is not there; expected a text"):
        open_template("none.txt")
    with pytest.raises(ConfigError, match="is not a file"):
        open_template(str(tmp_path))
    os.mkfifo("pipe")
    with pytest.raises(ConfigError, match="is not a file"):
        open_template("pipe")
    with pytest.raises(DataError, match="cannot read it as UTF-8"):
        open_template(written(b"{problem} \xff"))
    open_template(written("{problem}" + "x" * (MAX_BYTES - 9)))
    with pytest.raises(DataError, match=f"is larger than {MAX_BYTES} bytes"):
        open_template(written("{problem}" + "x" * (MAX_BYTES - 8)))


def test_a_text_s_last_line_end_and_how_lines_end_are_not_its_words(written):
    for content in ("{problem}\nA:\n", "\ufeff{problem}\r\nA:\r\n", "{problem}\nA:"):
        assert open_template(written(content)).text == "{problem}\nA:"


FUNCTIONS = """
def text(columns):
    return f"Q: {columns['problem']} {len(columns['previous_steps'])}"

def turns(columns):
    steps = " ".join(columns["previous_steps"])
    rules = {"role": "system", "content": "<think>"}
    return [rules, {"role": "user", "content": f"{columns['problem']} {steps}"}]

def names(columns):
    return columns["problem"] + ",".join(sorted(columns))

def fixed(columns): return "Go!"
def number(columns): return 7
def empty(columns): return ""
def none(columns): return []
def open_end(columns): return [{"role": "assistant", "content": columns["problem"]}]
def robot(columns): return [{"role": "robot", "content": columns["problem"]}]
def keyless(columns): return [{"content": columns["problem"]}]
def fails(columns): return columns["colour"]
async def later(columns): return columns["problem"]
class Kind: pass
"""


@pytest.mark.parametrize("spec", ["own_module", "own.py", "./own.py"])
def test_a_function_gives_a_text_or_messages_from_the_fields(spec, written):
    written(FUNCTIONS, "own_module.py")
    written(FUNCTIONS, "own.py")
    text = open_template(f"{spec}:text")
    assert said(text, problem="p") == "Q: p 0"
    assert (text.name, text.stepwise, text.thinks) == (f"{spec}:text", False, False)
    turns = open_template(f"{spec}:turns")
    assert [each["role"] for each in turns.messages(problem="p")] == ["system", "user"]
    assert (turns.stepwise, turns.thinks) == (True, True)
    names = said(open_template(f"{spec}:names"), problem="p", target_step="secret", answer="7")
    assert names == "pprevious_steps,problem,step_index,title"


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("own.py:fixed", ConfigError, "returns the same for every problem"),
        ("own.py:number", DataError, "'own.py:number' returned '7': it is of type int; expected"),
        ("own.py:empty", DataError, "the content '' is not a text with words"),
        ("own.py:none", DataError, "its last message is not a user's"),
        ("own.py:open_end", DataError, "its last message is not a user's"),
        ("own.py:robot", DataError, "role 'robot' is none of system, user, assistant"),
        ("own.py:keyless", DataError, "is not a message with role and content"),
        ("own.py:fails", DataError, r"'own.py:fails' raised KeyError: 'colour' \(own.py:"),
        ("own.py:later", ConfigError, "expected a function of a record's fields that is not async"),
        ("own.py:Kind", ConfigError, "expected a function of a record's fields"),
        ("own.py:text_", ConfigError, "there is no 'text_' in own.py"),
        ("none.py:text", ConfigError, "'none.py:text': no such file: none.py"),
        ("no_such_module:text", ConfigError, "No module named 'no_such_module'"),
        ("own.py:", ConfigError, "expected module:name or file.py:name"),
        ("raises.py:text", ConfigError, "raises.py raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_not_a_template_s_function_is_refused(spec, error, message, written):
    written(FUNCTIONS, "own.py")
    written("1 / 0", "raises.py")
    with pytest.raises(error, match=message):
        open_template(spec)


@pytest.mark.parametrize("name", ["boxed", "chat", "question_only", "r1_zero", "own.txt"])
def test_a_template_that_shows_no_steps_refuses_a_record_with_steps(name, written):
    written("{problem}?")
    template = open_template(name)
    assert template.messages(problem="p", previous_steps=[])
    with pytest.raises(DataError, match="shows the problem alone, and the record has 2 previous"):
        template.messages(problem="p", previous_steps=STEPS)


def test_the_chat_template_s_message_is_the_problem_alone():
    assert get_template("chat").messages(problem="12+34?\n") == [
        {"role": "user", "content": "12+34?\n"}
    ]
    assert get_template("chat").chat is None


def recorded(folder, template):
    write_record(folder, record_of(template))
    return read_record(folder)


def test_a_recorded_text_is_used_after_its_file_is_gone_or_changed(written, tmp_path):
    record = recorded(tmp_path, open_template(written("{problem} A:")))
    (tmp_path / "own.txt").write_text("{problem} B:")
    assert said(recorded_template(tmp_path, record), problem="p") == "p A:"
    chosen = choose_template(None, record, tmp_path, "boxed")
    assert said(chosen.template, problem="p") == "p A:"
    assert chosen.note == f"template 'own.txt', as {tmp_path} records it"
    chosen = choose_template("own.txt", record, tmp_path, "boxed")
    assert said(chosen.template, problem="p") == "p B:"
    assert chosen.note.startswith("template 'own.txt' is not the same as when")
    (tmp_path / "own.txt").unlink()
    chosen = choose_template("own.txt", record, tmp_path, "boxed")
    assert said(chosen.template, problem="p") == "p A:"
    assert "'own.txt' is not there; its text is the one that" in chosen.note
    with pytest.raises(ConfigError, match=r"'other\.txt' is not there"):
        choose_template("other.txt", record, tmp_path, "boxed")


def test_a_recorded_function_must_be_what_it_was(written, tmp_path):
    record = recorded(tmp_path, open_template(f"{written(FUNCTIONS, 'own.py')}:text"))
    written(f"# a line before\n{FUNCTIONS}", "own.py")
    assert recorded_template(tmp_path, record).function_sha256 == record.function_sha256
    written(FUNCTIONS.replace("Q:", "Question:"), "own.py")
    with pytest.raises(DataError, match=r"'own\.py:text', which has changed since; restore it"):
        choose_template(None, record, tmp_path, "boxed")
    chosen = choose_template("own.py:text", record, tmp_path, "boxed")
    assert said(chosen.template, problem="p") == "Question: p 0"
    assert "is not the same as when" in chosen.note
    (tmp_path / "own.py").unlink()
    with pytest.raises(DataError, match=r"which cannot be had: --template 'own\.py:text'"):
        choose_template(None, record, tmp_path, "boxed")


def test_a_damaged_recorded_text_is_refused(tmp_path):
    record = PromptRecord(name="own.txt", version=1, text="{colour}")
    with pytest.raises(DataError, match=r"template\.json: template 'own\.txt', line 1: unknown"):
        recorded_template(tmp_path, record)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_flag_goes_before_the_record_before_the_default(name, tmp_path):
    record = recorded(tmp_path, get_template(name))
    assert choose_template(None, record, tmp_path, "boxed").template is get_template(name)
    assert choose_template(name, record, tmp_path, "boxed").note is None
    assert choose_template(None, None, tmp_path, name).template is get_template(name)
    other = "srl" if name != "srl" else "chat"
    chosen = choose_template(other, record, tmp_path, "boxed")
    assert chosen.template is get_template(other)
    assert chosen.note == f"template {other!r}, although {tmp_path} was trained with {name!r}"


def test_a_name_that_is_nothing_says_what_there_is():
    with pytest.raises(ConfigError, match=r"did you mean 'chat'\? known: .* or module:function"):
        open_template("chatt")
