"""From a data set to examples for supervised fine-tuning: every form, and every refusal."""

import datetime as dt
import json

import pytest
import tokenizers
import transformers
from pydantic import ValidationError

from srl_data.arithmetic import problems
from srl_data.command.errors import ConfigError, DataError
from srl_data.prompt_format import open_prompts
from srl_data.prompt_record import ChatOptions
from srl_data.prompts import get_template
from srl_data.records import write_records
from srl_grpo.config.sft_data import SftDataSection
from srl_grpo.data.examples import kind_of_data, load_examples, record_kind
from srl_grpo.data.record_kinds import SRL
from srl_grpo.toy.characters import CharacterCoder, alphabet_named, character_core
from srl_reward import parse_step_output

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PREFILLED = CHATML.replace("assistant\n", "assistant\n<think>\n")
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
END = 2


def byte_tokenizer(chat_template):
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: n for n, piece in enumerate([*MARKS, *alphabet])}
    core = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=MARKS[0], pad_token=MARKS[0]
    )
    fast.add_tokens([transformers.AddedToken(text, special=True) for text in MARKS[:3]])
    fast.add_tokens([transformers.AddedToken(text, special=False) for text in MARKS[3:]])
    fast.chat_template = chat_template
    return fast


def prompts_of(template, chat_template=CHATML):
    options = ChatOptions(date=dt.date(2026, 1, 2))
    return open_prompts(byte_tokenizer(chat_template), get_template(template), options)


def text_of(prompts, ids):
    return prompts.tokenizer.decode(list(ids), skip_special_tokens=False)


def load(data, template="chat", part="train", chat_template=CHATML, limit=None):
    notes = []
    prompts = prompts_of(template, chat_template)
    found = load_examples(data, part, prompts, END, notes.append, limit)
    return found, prompts, notes


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def section(path, **options):
    return SftDataSection(path=str(path), **options)


PAIRS = [
    {"id": "a", "prompt": "1+1?", "response": "It is 2.", "answer": 2, "grader": "gsm8k"},
    {"id": "b", "prompt": "2+2?", "response": "It is 4."},
]


def instances(tmp_path, count=3, targets="all", thinking=True):
    path = tmp_path / "instances.jsonl"
    rows = []
    for problem in problems(7, count):
        for instance in problem.instances(targets):
            meta = {**instance.meta, "answer": problem.answer, "grader": "boxed_integer"}
            if thinking:
                meta["thinking"] = problem.thoughts[instance.step_index - 1]
            rows.append({**instance.model_dump(), "meta": meta})
    return write_rows(path, rows), rows


def test_a_pair_is_the_prompt_through_the_template_the_response_and_one_end_token(tmp_path):
    found, prompts, notes = load(section(write_rows(tmp_path / "p.jsonl", PAIRS)))
    first, second = found.examples
    assert first.text == "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"
    assert first.prompt_ids == prompts.prompt(problem="1+1?").ids
    assert text_of(prompts, first.response_ids) == "It is 2.<|im_end|>"
    assert first.response_ids.count(END) == 1
    assert first.columns == {"problem": "1+1?", "answer": "2", "grader": "gsm8k"}
    assert (second.id, second.columns) == ("b", {"problem": "2+2?"})
    assert (found.dropped, found.cut, notes) == (0, 0, [])
    assert len(found.source.sha256) == 64


def test_the_quickstart_s_instances_under_bare_with_a_thought_from_meta(tmp_path):
    path, rows = instances(tmp_path)
    coder = CharacterCoder(character_core(alphabet_named("arithmetic")))
    prompts = open_prompts(coder, get_template("bare"), ChatOptions())
    data = section(path, thinking_field="thinking")
    found = load_examples(data, "train", prompts, 0, print)
    assert len(found.examples) == len(rows)
    for example, row in zip(found.examples, rows, strict=True):
        written = f"<think>{row['meta']['thinking']}</think>\n{row['target_step']}"
        ids = coder.encode(written, add_special_tokens=False)
        assert example.response_ids == (*ids, 0)
        assert example.prompt_ids == prompts.prompt(**row).ids
        assert parse_step_output(written).action == row["target_step"]
        kept = ("problem", "previous_steps", "target_step", "step_index", "num_steps", "title")
        assert example.columns == {name: row[name] for name in kept}


def test_responses_that_the_tokenizer_does_not_know_are_told_and_all_of_them_are_refused(tmp_path):
    """A character without a token becomes padding, and nobody would see it."""
    coder = CharacterCoder(character_core(alphabet_named("arithmetic")))
    prompts = open_prompts(coder, get_template("question_only"), ChatOptions())
    rows = [{"prompt": "1+1=?", "response": "2"}, {"prompt": "1+2=?", "response": "3 €"}]
    path = write_rows(tmp_path / "p.jsonl", rows)
    notes = []
    assert len(load_examples(section(path), "train", prompts, 0, notes.append).examples) == 2
    assert notes == ["1 responses of p.jsonl are read otherwise: '3 €' comes back as '3 <|pad|>'"]
    write_rows(path, rows[1:])
    with pytest.raises(DataError, match=r"p.jsonl: the tokenizer gives back none of the responses"):
        load_examples(section(path), "train", prompts, 0, notes.append)


def test_steps_without_a_thinking_column_begin_with_the_fixed_text_and_say_so(tmp_path):
    path, rows = instances(tmp_path, thinking=False)
    found, prompts, notes = load(section(path, thinking_text="Let me see."), "srl")
    written = [text_of(prompts, each.response_ids) for each in found.examples]
    assert written == [f"<think>Let me see.</think>\n{r['target_step']}<|im_end|>" for r in rows]
    assert MARKS.index("<think>") == found.examples[0].response_ids[0]
    (note,) = notes
    assert note == (
        f"{len(rows)} responses of instances.jsonl begin with a fixed thinking part, 'Let me see.'"
    )


def test_steps_without_thinking_are_the_step_alone(tmp_path):
    path, rows = instances(tmp_path)
    found, prompts, _ = load(section(path, thinking=False), "srl")
    written = [text_of(prompts, each.response_ids) for each in found.examples]
    assert written == [f"{row['target_step']}<|im_end|>" for row in rows]


def test_a_prompt_that_opens_the_thinking_is_not_opened_again(tmp_path):
    path, rows = instances(tmp_path)
    data = section(path, thinking_field="meta.thinking")
    found, prompts, _ = load(data, "srl", chat_template=PREFILLED)
    for example, row in zip(found.examples, rows, strict=True):
        assert example.think_prefilled
        assert example.text.endswith("<think>\n")
        written = text_of(prompts, example.response_ids).removesuffix("<|im_end|>")
        assert written == f"{row['meta']['thinking']}</think>\n{row['target_step']}"
        assert parse_step_output(written, think_prefilled=True).action == row["target_step"]


def test_a_pair_after_an_opened_thinking_closes_it_or_is_refused(tmp_path):
    thought = {"prompt": "1?", "response": "<think>hm</think>2"}
    closed = {"prompt": "1?", "response": "hm</think>2"}
    path = write_rows(tmp_path / "p.jsonl", [thought, closed])
    found, prompts, _ = load(section(path), chat_template=PREFILLED)
    assert [text_of(prompts, e.response_ids) for e in found.examples] == [
        "hm</think>2<|im_end|>"
    ] * 2
    bare = section(write_rows(tmp_path / "q.jsonl", [{"prompt": "1?", "response": "2"}]))
    with pytest.raises(DataError, match=r"record 'row-00000': its prompt ends inside an open"):
        load(bare, chat_template=PREFILLED)
    fixed, prompts, _ = load(
        bare.model_copy(update={"thinking": True, "thinking_text": "T"}), chat_template=PREFILLED
    )
    assert text_of(prompts, fixed.examples[0].response_ids) == "T</think>\n2<|im_end|>"


def test_thinking_from_a_column_stands_before_a_pair_s_response(tmp_path):
    rows = [{"question": "Q", "attempt": "A", "trace": " t "}]
    data = section(
        write_rows(tmp_path / "s1k.jsonl", rows),
        prompt_field="question",
        response_field="attempt",
        thinking_field="trace",
    )
    found, prompts, notes = load(data)
    assert text_of(prompts, found.examples[0].response_ids) == "<think>t</think>\nA<|im_end|>"
    assert notes == []


def test_whole_solutions_once_a_problem_with_their_answers(tmp_path):
    path, _ = instances(tmp_path, count=3)
    found, prompts, _ = load(section(path, unit="solution"))
    expected = list(problems(7, 3))
    assert [each.id for each in found.examples] == [problem.name for problem in expected]
    for example, problem in zip(found.examples, expected, strict=True):
        assert text_of(prompts, example.response_ids) == "\n\n".join(problem.steps) + "<|im_end|>"
        assert example.columns == {
            "problem": problem.problem,
            "answer": problem.answer,
            "grader": "boxed_integer",
        }


def test_solutions_without_their_last_step_are_told_and_all_of_them_are_an_error(tmp_path):
    path, rows = instances(tmp_path, count=3)
    short = write_rows(tmp_path / "short.jsonl", rows[:-1])
    found, _, notes = load(section(short, unit="solution"))
    assert len(found.examples) == 2
    assert notes[0].startswith("1 of 3 solutions have no instance of their last step")
    path, _ = instances(tmp_path, targets="1..N-1")
    with pytest.raises(DataError, match="no examples"):
        load(section(path, unit="solution"))


def test_r1_zero_wraps_the_answer_of_a_whole_solution(tmp_path):
    path, _ = instances(tmp_path, count=1)
    found, prompts, _ = load(section(path, unit="solution", thinking_text="T"), "r1_zero")
    written = text_of(prompts, found.examples[0].response_ids)
    assert found.examples[0].text.endswith("\n\nAssistant: <think>")  # so it is not opened again
    assert written.startswith("T</think> <answer>1. **Ones**")
    assert written.endswith("}</answer><|im_end|>")


@pytest.mark.parametrize("spelt", ["<|im_end|>", " <|im_end|>\n"])
def test_an_end_token_that_an_answer_spells_is_taken_out_of_the_answer_tag(tmp_path, spelt):
    rows = [{"id": "a", "prompt": "2+2?", "response": f"4{spelt}", "thinking": "T"}]
    data = section(
        write_rows(tmp_path / "p.jsonl", rows), prompt_field="prompt", thinking_field="thinking"
    )
    found, prompts, notes = load(data, "r1_zero")
    written = text_of(prompts, found.examples[0].response_ids)
    assert written == "T</think> <answer>4</answer><|im_end|>"
    assert any("end with '<|im_end|>': written once" in note for note in notes)


CHAT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "4"},
]


@pytest.mark.parametrize("field", ["messages", "conversations"])
def test_a_chat_s_last_message_is_the_response_and_the_turns_before_are_the_prompt(tmp_path, field):
    data = section(
        write_rows(tmp_path / "c.jsonl", [{field: CHAT}]),
        messages_field=None if field == "messages" else field,
    )
    found, prompts, _ = load(data)
    (example,) = found.examples
    assert example.text == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert text_of(prompts, example.response_ids) == "4<|im_end|>"
    assert example.columns == {"problem": "2+2?"}


def test_a_system_text_that_the_chat_template_refuses_heads_the_user_s_turn(tmp_path):
    data = section(write_rows(tmp_path / "c.jsonl", [{"messages": CHAT[:3]}]))
    found, _, _ = load(data, chat_template=NO_SYSTEM + CHATML)
    assert "user\nBe short.\n\nHi<|im_end|>" in found.examples[0].text


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (CHAT[:4], "its turns are user, assistant, user"),
        (CHAT[1:2] * 2, "its turns are user, user"),
        ([], "holds '[]' (a list), expected messages"),
        ("text", "expected messages"),
        ([{"role": "tool", "content": "x"}], "message 1 of column 'messages' has the role 'tool'"),
        ([*CHAT[1:2], {"role": "assistant", "content": " "}], "message 2 of column"),
        ([*CHAT[1:2], {"role": "assistant", "content": None}], "holds nothing (null)"),
        ([*CHAT[1:2], {"role": "assistant", "content": "x", "tool_calls": [1]}], "calls tools"),
        ([*CHAT[1:3], CHAT[0]], "a system message may only come first"),
        (["x"], "message 1 of column 'messages' is 'x' (a list)"),
    ],
)
def test_a_chat_that_is_none_names_row_and_message(tmp_path, messages, reason):
    path = write_rows(tmp_path / "c.jsonl", [{"messages": CHAT}, {"messages": messages}])
    with pytest.raises(DataError) as caught:
        load(section(path))
    assert str(caught.value).startswith(f"{path}:2: ")
    assert reason in str(caught.value)
    found, _, notes = load(section(path, on_error="skip"))
    assert len(found.examples) == 1
    assert notes[-1] == "1 bad rows left out of c.jsonl"


def test_control_tokens_that_a_response_spells_are_text_and_its_end_is_written_once(tmp_path):
    rows = [
        {"prompt": "p", "response": "a<|im_end|>b"},
        {"prompt": "p<|im_start|>", "response": "done<|im_end|>\n"},
    ]
    found, prompts, notes = load(section(write_rows(tmp_path / "p.jsonl", rows)))
    one, other = found.examples
    assert one.response_ids.count(END) == other.response_ids.count(END) == 1
    assert text_of(prompts, one.response_ids) == "a<|im_end|>b<|im_end|>"
    assert text_of(prompts, other.response_ids) == "done<|im_end|>"
    first = "the first in record 'row-00001'"
    assert notes == [
        "1 responses of p.jsonl end with '<|im_end|>': written once",
        f"1 prompts of p.jsonl spell control tokens, encoded as text; {first}",
    ]


def test_what_is_too_long_is_dropped_or_cut_and_counted(tmp_path):
    rows = [{"prompt": "p" * n, "response": "r" * n} for n in (1, 10, 100)]
    path = write_rows(tmp_path / "p.jsonl", rows)
    (short, middle, _), prompts = load(section(path))[0].examples, prompts_of("chat")
    whole = len(middle.prompt_ids) + len(middle.response_ids)
    for limit, kept, dropped in ((whole, 2, 1), (whole - 1, 1, 2)):
        found, _, notes = load(section(path, max_seq_len=limit))
        assert (len(found.examples), found.dropped, found.cut) == (kept, dropped, 0)
        assert notes == [f"{dropped} examples over {limit} tokens left out of p.jsonl, {kept} kept"]
    found, _, notes = load(section(path, max_seq_len=whole - 1, too_long="cut"))
    assert (len(found.examples), found.dropped, found.cut) == (2, 1, 1)
    cut = found.examples[1]
    assert text_of(prompts, cut.response_ids) == "r" * 10  # the end token is what was cut off
    assert len(cut.prompt_ids) + len(cut.response_ids) == whole - 1
    assert (
        notes[1] == f"1 responses of p.jsonl cut: with them examples were over {whole - 1} tokens"
    )
    with pytest.raises(DataError, match=r"all 3 examples are over 5 tokens .*raise --max-seq-len"):
        load(section(path, max_seq_len=5))
    assert found.examples[0] == short


def test_the_first_records_only(tmp_path):
    path = write_rows(tmp_path / "p.jsonl", PAIRS)
    assert len(load(section(path, train_max_samples=1))[0].examples) == 1
    assert len(load(section(path, train_max_samples=2), limit=1)[0].examples) == 1
    both = section(path, val_path=str(path), train_max_samples=1)
    assert len(load(both, part="eval")[0].examples) == 2


def folder_of_splits(tmp_path):
    rows = [{"input": f"q{n}", "output": f"r{n}"} for n in range(4)]
    write_rows(tmp_path / "set/train.jsonl", rows[:3])
    write_rows(tmp_path / "set/test.jsonl", rows[3:])
    return section(tmp_path / "set", prompt_field="input", response_field="output")


def test_native_splits_train_and_evaluate(tmp_path):
    data = folder_of_splits(tmp_path)
    train, prompts, _ = load(data)
    held_out, _, _ = load(data, part="eval")
    assert [text_of(prompts, e.response_ids) for e in train.examples] == [
        f"r{n}<|im_end|>" for n in range(3)
    ]
    assert [e.columns["problem"] for e in held_out.examples] == ["q3"]
    swapped = data.model_copy(update={"train_split": "test"})
    assert len(load(swapped)[0].examples) == 1
    assert load(swapped, part="eval")[0] is None
    with pytest.raises(
        DataError, match=r"no split 'dev' \(--eval-split\); its splits: test, train"
    ):
        load(data.model_copy(update={"eval_split": "dev"}), part="eval")


def test_a_single_file_has_nothing_held_out_unless_it_is_named(tmp_path):
    path = write_rows(tmp_path / "p.jsonl", PAIRS)
    assert load(section(path), part="eval")[0] is None
    data = section(path, val_path=str(write_rows(tmp_path / "v.jsonl", PAIRS[:1])))
    assert len(load(data, part="eval")[0].examples) == 1


BAD_ROWS = [
    ({"output": "r"}, "no column 'input' (--prompt-field); its columns: output"),
    ({"input": "q"}, "no column 'output' (--response-field); its columns: input"),
    ({"input": "q", "output": 3}, "column 'output' (--response-field) holds '3' (int)"),
    ({"input": None, "output": "r"}, "column 'input' (--prompt-field) holds nothing (null)"),
    ({"input": "q", "output": " \n"}, "column 'output' (--response-field) is blank"),
    ({"input": ["q"], "output": "r"}, "column 'input' (--prompt-field) holds \"['q']\" (a list)"),
    ({"input": "q\ud800", "output": "r"}, "column 'input' (--prompt-field) holds half of a surr"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS)
@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_a_row_without_its_column_names_row_and_field(tmp_path, row, reason, kind):
    good = {"input": "q", "output": "r"}
    path, place = tmp_path / f"p.{kind}", ", row 2" if kind != "jsonl" else ":2"
    if kind == "parquet":
        if not all(isinstance(v, str | None) and "\ud800" not in (v or "") for v in row.values()):
            pytest.skip("Parquet's columns have one type, in UTF-8")
        if len(row) == 1:
            reason = f"column '{'output' if 'input' in row else 'input'}'"
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist([good, {"input": None, "output": None} | row]), path)
    elif kind == "json":
        path.write_text(json.dumps([good, row]))
    else:
        write_rows(path, [good, row])
    data = section(path, prompt_field="input", response_field="output")
    with pytest.raises(DataError) as caught:
        load(data)
    assert str(caught.value).startswith(f"{path}{place}: ")
    assert reason in str(caught.value)
    assert caught.value.exit_code == 3
    found, _, notes = load(data.model_copy(update={"on_error": "skip"}))
    assert len(found.examples) == 1
    assert reason in notes[0]


def test_answers_come_from_the_named_column_the_record_or_its_meta(tmp_path):
    rows = [{"q": "1", "a": "r #### 5", "meta": {"gold": 27.0, "answer": "x"}}]
    path = write_rows(tmp_path / "p.jsonl", rows)
    base = section(path, prompt_field="q", response_field="a")

    def columns(**options):
        (example,) = load(base.model_copy(update=options))[0].examples
        return {k: v for k, v in example.columns.items() if k != "problem"}

    assert columns() == {"answer": "x", "grader": "math"}
    assert columns(answer_field="gold") == {"answer": "27", "grader": "math"}
    assert columns(answer_field="meta.gold", grader="exact") == {"answer": "27", "grader": "exact"}
    assert columns(answer_field="a", grader="gsm8k") == {"answer": "r #### 5", "grader": "gsm8k"}
    with pytest.raises(DataError, match=r"p.jsonl:1: no column 'none' \(--answer-field\)"):
        columns(answer_field="none")
    gsm8k = [{"question": "q", "answer": "w\n#### 2"}]
    data = section(
        write_rows(tmp_path / "g.jsonl", gsm8k), prompt_field="question", response_field="answer"
    )
    assert load(data)[0].examples[0].columns == {"problem": "q"}  # the response is no answer key


def test_a_grader_that_there_is_not_names_the_row(tmp_path):
    path = write_rows(tmp_path / "p.jsonl", [PAIRS[0] | {"grader": "maths"}])
    with pytest.raises(DataError, match=r"p.jsonl:1: unknown grader 'maths'; expected one of ex"):
        load(section(path))


def test_a_missing_thinking_column_names_row_and_field(tmp_path):
    path, rows = instances(tmp_path, thinking=False)
    with pytest.raises(DataError, match=r"instances.jsonl:1: no column 'thought' \(--thinking-fie"):
        load(section(path, thinking_field="thought"), "srl")
    rows[0]["thought"], rows[1]["meta"]["thought"] = "<think>", "fine"
    write_rows(path, rows[:1])
    with pytest.raises(DataError, match=r"record '.*/1': its thinking holds '<think>' itself"):
        load(section(path, thinking_field="thought"), "srl")
    found, prompts, _ = load(section(write_rows(path, rows[1:2]), thinking_field="thought"), "srl")
    assert text_of(prompts, found.examples[0].response_ids).startswith("<think>fine</think>\n2. ")


def test_rows_of_no_known_kind_are_told_with_their_columns(tmp_path):
    path = write_rows(tmp_path / "p.jsonl", [{"problem": "q", "answer": "1"}])
    with pytest.raises(DataError, match=r"p.jsonl:1: nothing to imitate.* found answer, problem;"):
        load(section(path))
    path.write_text("")
    with pytest.raises(DataError, match="no rows"):
        load(section(path))


def test_held_out_rows_of_another_kind_are_refused(tmp_path):
    pairs = write_rows(tmp_path / "p.jsonl", PAIRS)
    steps, _ = instances(tmp_path)
    with pytest.raises(DataError, match=r"of the kind 'pair', those that are trained on 'step'"):
        load(section(steps, val_path=str(pairs)), "srl", part="eval")


def test_templates_by_kind_and_those_that_do_not_suit(tmp_path):
    steps, _ = instances(tmp_path)
    assert record_kind(kind_of_data(section(steps)), has_chat_template=True) is SRL
    whole = kind_of_data(section(steps, unit="solution"))
    assert record_kind(whole, has_chat_template=True).template == "chat"
    assert record_kind(whole, has_chat_template=False).template == "question_only"
    with pytest.raises(ConfigError, match="give --template srl"):
        load(section(steps), "boxed")
    with pytest.raises(ConfigError, match="give --template chat"):
        load(section(steps, unit="solution"), "bare")
    chats = section(write_rows(tmp_path / "c.jsonl", [{"messages": CHAT}]))
    with pytest.raises(ConfigError, match="a chat brings its own; give --template chat"):
        load(chats, "boxed")
    with pytest.raises(DataError, match=r"a chat of 4 messages .*use --template chat"):
        load(chats, "question_only")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"messages_field": "m", "prompt_field": "p"}, "--messages-field is the whole chat"),
        ({"prompt_field": "p", "response_field": "p"}, "are both 'p'; name two columns"),
        ({"prompt_field": "p", "unit": "solution"}, "leave it or --prompt-field out"),
        ({"train_split": "a", "eval_split": "a"}, "are both 'a'"),
        ({"thinking": False, "thinking_field": "t"}, "--thinking-field 't' with --no-thinking"),
        ({"thinking_text": "<think>x"}, "expected a short text without <think>"),
        ({"thinking_text": " "}, "thinking_text = ' '"),
        ({"max_seq_len": 0}, "greater than or equal to 1"),
        ({"too_long": "keep"}, "'drop' or 'cut'"),
        ({"grader": "guess"}, "Input should be 'exact'"),
    ],
)
def test_options_that_contradict_are_refused(options, message):
    with pytest.raises(ValidationError) as caught:
        SftDataSection(path="x.jsonl", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("pairs", {"unit": "solution"}, "--unit solution is for SRL instances"),
        ("steps", {"answer_field": "answer"}, "--answer-field 'answer': one step is no answer"),
        ("steps", {"unit": "solution", "thinking_field": "t"}, "the thinking before one step"),
    ],
)
def test_options_that_the_rows_have_no_use_for_are_refused(tmp_path, kind, options, message):
    pairs = write_rows(tmp_path / "p.jsonl", PAIRS)
    path = pairs if kind == "pairs" else instances(tmp_path)[0]
    with pytest.raises(ConfigError, match=message):
        load(section(path, **options), "srl" if "answer_field" in options else "chat")


def test_instances_written_by_the_records_module_are_read(tmp_path):
    path = tmp_path / "i.jsonl"
    write_records(path, next(problems(1, 1)).instances())
    assert load(section(path), "srl")[0].examples[0].columns["step_index"] == 1
