"""Templates, their rendering, and the record of them in a checkpoint."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data.errors import ConfigError, DataError
from srl_data.prompts import (
    TEMPLATE_FILE,
    TEMPLATES,
    encode,
    get_template,
    read_template,
    render,
    without_system,
    write_template,
)
from srl_reward import is_think_prefilled

BOS, EOS = 1, 2


class CharTokenizer:
    """A character a token, with a BOS and an EOS around special text, as Llama's has."""

    def __init__(self, chat_template=None, bos=BOS, adds_bos=True, opening=""):
        self.chat_template = chat_template
        self.bos_token_id = bos
        self.adds_bos = adds_bos
        self.opening = opening

    def apply_chat_template(self, conversation, *, tokenize, add_generation_prompt):
        assert not tokenize
        assert add_generation_prompt
        body = "".join(f"[{m['role']}]{m['content']}" for m in conversation)
        return f"\x01{body}[assistant]{self.opening}"

    def encode(self, text, *, add_special_tokens):
        ids = [ord(char) for char in text]
        if not add_special_tokens:
            return ids
        return [*([self.bos_token_id] if self.adds_bos else []), *ids, EOS]


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
    prompt = get_template("bare").prompt(CharTokenizer("has one"), **COLUMNS)
    assert prompt == "12+34=?\n1. **Ones** 2+4+0=06\n"


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


def test_render_uses_the_chat_template_where_there_is_one():
    messages = [{"role": "user", "content": "hi"}]
    assert render(messages, CharTokenizer("t")) == "\x01[user]hi[assistant]"
    assert render(messages, CharTokenizer()) == "User: hi\n\nAssistant:"
    assert render(messages, CharTokenizer("t"), chat_template=False) == "hi"
    with pytest.raises(ConfigError, match="no chat template"):
        render(messages, CharTokenizer(), chat_template=True)


def test_system_message_is_folded_where_the_chat_template_refuses_the_role():
    tokenizer = CharTokenizer("{{ raise_exception('System role not supported') }}")
    messages = [{"role": "system", "content": "rules"}, {"role": "user", "content": "hi"}]
    assert render(messages, tokenizer) == "\x01[user]rules\n\nhi[assistant]"


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text())))
def test_folding_loses_no_text_and_leaves_no_system_message(pairs):
    messages = [{"role": role, "content": content} for role, content in pairs]
    folded = without_system(messages)
    assert all(message["role"] != "system" for message in folded)
    joined = "".join(message["content"] for message in folded)
    assert all(content.rstrip() in joined for _, content in pairs)


def test_encode_gives_one_bos_and_never_an_end_token():
    messages = [{"role": "user", "content": "hi"}]
    through_chat = encode(messages, CharTokenizer("t"))
    assert through_chat == [ord(char) for char in "\x01[user]hi[assistant]"]
    assert through_chat[0] == BOS
    assert encode(messages, CharTokenizer(), chat_template=False) == [BOS, *map(ord, "hi")]
    no_bos = CharTokenizer(adds_bos=False)
    assert encode(messages, no_bos, chat_template=False) == [*map(ord, "hi")]
    written = [{"role": "user", "content": "\x01hi"}]
    assert encode(written, CharTokenizer(), chat_template=False) == [BOS, *map(ord, "hi")]


def test_an_opened_think_tag_is_seen_at_the_very_end_only():
    tokenizer = CharTokenizer("t", opening="<think>\n")
    assert is_think_prefilled(get_template("srl").prompt(tokenizer, **COLUMNS))
    assert not is_think_prefilled(get_template("srl").prompt(CharTokenizer("t"), **COLUMNS))
    assert not is_think_prefilled("<think>\n\n</think>\n\n")


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_is_read_back_from_a_checkpoint(name, tmp_path):
    assert read_template(tmp_path) is None
    write_template(tmp_path, get_template(name))
    assert read_template(tmp_path) is get_template(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected"),
        ("[]", "expected"),
        ('{"name": "srl"}', "expected"),
        (json.dumps({"name": "srl", "version": 99}), "version 99, this srl-data has version 1"),
        (json.dumps({"name": "other", "version": 1}), "template 'other' version 1"),
        (json.dumps({"name": ["srl"], "version": 1}), "template"),
    ],
)
def test_a_damaged_or_unknown_template_file_is_refused(content, message, tmp_path):
    (tmp_path / TEMPLATE_FILE).write_text(content)
    with pytest.raises(DataError, match=message):
        read_template(tmp_path)


PINNED = {
    ("srl", 1): "158a295614bf",
    ("boxed", 1): "974cc93041e2",
    ("r1_zero", 1): "064d466ca5aa",
    ("question_only", 1): "dd1f61ec65f3",
    ("bare", 1): "cd70ef05baaf",
}


def test_a_template_s_words_do_not_change_under_one_version():
    """A change here needs a new version: checkpoints record name and version, not words."""
    columns = {**COLUMNS, "title": "Tens"}
    digests = {
        (template.name, template.version): hashlib.sha256(
            json.dumps(template.messages(**columns)).encode()
        ).hexdigest()[:12]
        for template in TEMPLATES.values()
    }
    assert digests == PINNED
