"""Templates, prompts without a chat template, and the record of both in a checkpoint."""

import datetime as dt
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data.command.errors import ConfigError, DataError
from srl_data.prompt_format import open_prompts
from srl_data.prompt_record import (
    TEMPLATE_FILE,
    ChatOptions,
    ChatSection,
    PromptRecord,
    chat_options,
    differences,
    read_record,
    write_record,
)
from srl_data.prompts import TEMPLATES, get_template, without_system
from srl_data.template_choice import recorded_template

BOS, EOS = 1, 2


class CharTokenizer:
    """A character a token, with a BOS and an EOS around special text, as Llama's has."""

    def __init__(self, chat_template=None, bos=BOS, adds_bos=True):
        self.chat_template = chat_template
        self.bos_token_id = bos
        self.adds_bos = adds_bos

    def apply_chat_template(self, conversation, *, tokenize, add_generation_prompt, **_kwargs):
        assert not tokenize
        body = "".join(f"[{m['role']}]{m['content']}" for m in conversation)
        return f"\x01{body}[assistant]" if add_generation_prompt else f"\x01{body}"

    def encode(self, text, *, add_special_tokens):
        ids = [ord(char) for char in text]
        if not add_special_tokens:
            return ids
        return [*([self.bos_token_id] if self.adds_bos else []), *ids, EOS]


def opened(tokenizer, template="question_only", mode="auto"):
    return open_prompts(tokenizer, get_template(template), ChatOptions(mode))


COLUMNS = {"problem": "12+34=?", "previous_steps": ["1. **Ones** 2+4+0=06"], "id": "x"}


def test_srl_prompt_shows_problem_steps_and_the_number_of_the_next_step():
    system, user = get_template("srl").messages(**COLUMNS)
    assert system["role"] == "system"
    assert "<think>" in system["content"]
    assert user["content"] == (
        "Problem:\n12+34=?\n\nSteps so far:\n1. **Ones** 2+4+0=06\n\nThink, then write step 2 only."
    )


def test_srl_prompt_says_so_where_there_are_no_steps_yet():
    user = get_template("srl").messages(problem="p", previous_steps=[])[1]
    assert user["content"].endswith("Steps so far:\n(none yet)\n\nThink, then write step 1 only.")


def test_title_hint_is_shown_only_where_there_is_one():
    template = get_template("srl")
    hinted = template.messages(**COLUMNS, title="Tens")[1]["content"]
    plain = template.messages(**COLUMNS, title=None)[1]["content"]
    assert hinted == plain + ' Its title is "Tens".'


def test_bare_prompt_is_problem_and_steps_one_a_line():
    prompt = opened(CharTokenizer("has one"), "bare").prompt(**COLUMNS)
    assert prompt.text == "12+34=?\n1. **Ones** 2+4+0=06\n"


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_every_template_holds_the_problem_once_and_ignores_other_columns(name):
    template = get_template(name)
    messages = template.messages(problem="a unique problem", target_step="secret", step_index=1)
    text = "".join(message["content"] for message in messages)
    assert text.count("a unique problem") == 1
    assert "secret" not in text


@pytest.mark.parametrize("problem", [None, "", " \n", 7])
def test_a_record_without_a_problem_is_refused(problem):
    with pytest.raises(DataError, match="template 'boxed' needs the column 'problem'"):
        get_template("boxed").messages(problem=problem)


def test_an_unknown_template_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown template 'boxd'; did you mean 'boxed'\?"):
        get_template("boxd")


def test_the_chat_template_is_used_where_there_is_one_or_as_asked():
    chat = "[user]{request}[assistant]"
    request = get_template("boxed").messages(problem="hi")[0]["content"]

    def text(chat_template, mode="auto", template="boxed"):
        return opened(CharTokenizer(chat_template), template, mode).prompt(problem="hi").text

    assert text("t") == text("t", "on") == "\x01" + chat.format(request=request)
    assert text(None) == f"User: {request}\n\nAssistant:"
    assert text("t", "off") == request
    assert text("t", template="question_only") == "hi"
    assert text("t", "on", "question_only") == "\x01[user]hi[assistant]"
    with pytest.raises(ConfigError, match="no chat template"):
        text(None, "on")


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text())))
def test_folding_loses_no_text_and_leaves_no_system_message(pairs):
    messages = [{"role": role, "content": content} for role, content in pairs]
    folded = without_system(messages)
    assert all(message["role"] != "system" for message in folded)
    joined = "".join(message["content"] for message in folded)
    assert all(content.rstrip() in joined for _, content in pairs)


def test_there_is_one_bos_and_never_an_end_token():
    def ids(tokenizer, mode="off", problem="hi"):
        return list(opened(tokenizer, mode=mode).prompt(problem=problem).ids)

    through_chat = ids(CharTokenizer("t"), "on")
    assert through_chat == [ord(char) for char in "\x01[user]hi[assistant]"]
    assert through_chat[0] == BOS
    assert ids(CharTokenizer()) == [BOS, *map(ord, "hi")]
    assert ids(CharTokenizer(adds_bos=False)) == [*map(ord, "hi")]
    assert ids(CharTokenizer(), problem="\x01hi") == [BOS, *map(ord, "hi")]


RECORD = PromptRecord(
    name="srl",
    version=1,
    chat_template="off",
    chat_template_kwargs={"enable_thinking": True},
    date=dt.date(2025, 3, 7),
    prompt_sha256="abc",
)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_checkpoint_s_record_is_read_back(name, tmp_path):
    assert read_record(tmp_path) is None
    record = opened(CharTokenizer("t"), name).record
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert recorded_template(tmp_path, read_record(tmp_path)) is get_template(name)


def test_a_record_of_name_and_version_alone_is_enough(tmp_path):
    (tmp_path / TEMPLATE_FILE).write_text('{"name": "srl", "version": 1}')
    record = read_record(tmp_path)
    assert (record.name, record.chat_template, record.date) == ("srl", "auto", None)
    assert differences(record, RECORD) == []


def test_flags_go_before_what_a_checkpoint_records_before_defaults(tmp_path):
    today = dt.date(2026, 1, 2)
    fresh = chat_options(ChatSection(), None, today)
    assert (fresh.mode, fresh.kwargs, fresh.given, fresh.date) == ("auto", {}, False, today)
    kept = chat_options(ChatSection(), RECORD, today)
    assert (kept.mode, kept.kwargs, kept.given) == ("off", {"enable_thinking": True}, False)
    assert kept.date == RECORD.date
    (tmp_path / "own.jinja").write_text("{{ messages }}")
    section = ChatSection(chat_template=str(tmp_path / "own.jinja"), chat_template_kwargs={})
    own = chat_options(section, RECORD, today)
    assert (own.mode, own.text, own.kwargs, own.given) == ("on", "{{ messages }}", {}, True)


def test_a_chat_template_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'onn': expected auto, on, off or a Jinja file"):
        chat_options(ChatSection(chat_template="onn"))
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, message in (("empty", "is empty"), ("binary", "cannot read"), (".", "cannot read")):
        with pytest.raises(DataError, match=message):
            chat_options(ChatSection(chat_template=str(tmp_path / name)))


def test_records_say_in_what_they_differ():
    now = RECORD.model_copy(update={"chat_template_kwargs": {}, "prompt_sha256": "xyz"})
    assert differences(RECORD, RECORD) == []
    assert differences(RECORD, now) == [
        "chat_template_kwargs: {'enable_thinking': True} -> {}",
        "prompt_sha256: abc -> xyz",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected"),
        ("[]", "expected"),
        ('{"name": "srl"}', "expected"),
        (json.dumps({"name": "srl", "version": 99}), "version 99, this srl-data has version 1"),
        (json.dumps({"name": "other", "version": 1}), "template 'other' version 1"),
        (json.dumps({"name": ["srl"], "version": 1}), "template"),
        (json.dumps({"name": "srl", "version": 1, "chat_template": "x"}), "expected"),
    ],
)
def test_a_damaged_or_unknown_template_file_is_refused(content, message, tmp_path):
    (tmp_path / TEMPLATE_FILE).write_text(content)
    with pytest.raises(DataError, match=message):
        recorded_template(tmp_path, read_record(tmp_path))


PINNED = {
    ("srl", 1): "158a295614bf",
    ("boxed", 1): "974cc93041e2",
    ("chat", 1): "dd1f61ec65f3",
    ("r1_zero", 2): "6cd7abd903d0",
    ("question_only", 1): "dd1f61ec65f3",
    ("bare", 1): "cd70ef05baaf",
}


def test_a_template_s_words_do_not_change_under_one_version():
    """A change here needs a new version: checkpoints record name and version, not words."""
    columns = {**COLUMNS, "title": "Tens"}
    digests = {
        (template.name, template.version): hashlib.sha256(
            json.dumps(template.build(columns)).encode()
        ).hexdigest()[:12]
        for template in TEMPLATES.values()
    }
    assert digests == PINNED
