//! Step splitting: every heading style, what hides a heading, and the properties parsing must have.

use proptest::prelude::*;
use srl_core::steps::{
    NonConforming, Preamble, Reason, has_several_steps, leading_number, parse_solution,
    split_steps, strip_number,
};

fn numbers(text: &str) -> Vec<u32> {
    split_steps(text, Preamble::Keep)
        .iter()
        .map(|step| step.number)
        .collect()
}

fn texts(text: &str) -> Vec<&str> {
    split_steps(text, Preamble::Keep)
        .iter()
        .map(|step| &text[step.span.clone()])
        .collect()
}

fn titles(text: &str) -> Vec<Option<&str>> {
    split_steps(text, Preamble::Keep)
        .iter()
        .map(|step| step.title.clone().map(|range| &text[range]))
        .collect()
}

fn refused(text: &str) -> Reason {
    parse_solution(text, Preamble::Keep)
        .expect_err("a refusal")
        .reason
}

fn conforms(text: &str) -> bool {
    parse_solution(text, Preamble::Keep).is_ok()
}

fn stripped(text: &str) -> String {
    let found = strip_number(text);
    let bold = if found.reopen_bold { "**" } else { "" };
    format!("{bold}{}", &text[found.start..found.end])
}

#[test]
fn every_heading_style_gives_number_title_and_stripped_text() {
    let cases: [(&str, u32, Option<&str>, &str); 36] = [
        ("1. text", 1, None, "text"),
        ("1) text", 1, None, "text"),
        ("12. text", 12, None, "text"),
        ("1.\n   text", 1, None, "text"),
        ("1.\ttext", 1, None, "text"),
        ("1.\u{a0}text", 1, None, "text"),
        ("Step\u{2009}1:\u{a0}text", 1, None, "text"),
        ("1. **Title** text", 1, Some("Title"), "**Title** text"),
        ("1. **Title:** text", 1, Some("Title"), "**Title:** text"),
        ("1. **Title**: text", 1, Some("Title"), "**Title**: text"),
        ("1.**Title** text", 1, Some("Title"), "**Title** text"),
        (
            "1. **Solve \\( x_{1} \\):** t",
            1,
            Some("Solve \\( x_{1} \\)"),
            "**Solve \\( x_{1} \\):** t",
        ),
        ("1. **never closed", 1, None, "**never closed"),
        ("**1. Title** text", 1, Some("Title"), "**Title** text"),
        ("**1.** text", 1, None, "text"),
        ("**2) Title:**\ntext", 2, Some("Title"), "**Title:**\ntext"),
        ("**Step 1:** text", 1, None, "text"),
        ("**Step 1**: text", 1, None, "text"),
        ("**Step 1** text", 1, None, "text"),
        ("**Step 1.** text", 1, None, "text"),
        (
            "**Step 1: Title**\ntext",
            1,
            Some("Title"),
            "**Title**\ntext",
        ),
        (
            "**Step 10 - Title:** text",
            10,
            Some("Title"),
            "**Title:** text",
        ),
        ("**Step 1 Title** text", 1, Some("Title"), "**Title** text"),
        ("Step 1: text", 1, None, "text"),
        ("STEP 1. text", 1, None, "text"),
        ("step 1 – text", 1, None, "text"),
        ("Step 1:text", 1, None, "text"),
        ("Step 1\ntext", 1, None, "text"),
        ("### 1. Title\ntext", 1, Some("Title"), "Title\ntext"),
        (
            "### 1. **Title**\ntext",
            1,
            Some("Title"),
            "**Title**\ntext",
        ),
        ("## 1: Title", 1, Some("Title"), "Title"),
        ("### 1.", 1, None, ""),
        ("### Step 1: Title\ntext", 1, Some("Title"), "Title\ntext"),
        ("### Step 1", 1, None, ""),
        (
            "#### **Step 1: Title**\ntext",
            1,
            Some("Title"),
            "**Title**\ntext",
        ),
        ("# Step 1 Title", 1, Some("Title"), "Title"),
    ];
    for (text, number, title, rest) in cases {
        assert_eq!(numbers(text), [number], "{text:?}");
        assert_eq!(titles(text), [title], "{text:?}");
        assert_eq!(stripped(text), rest, "{text:?}");
        assert_eq!(leading_number(text), Some(number), "{text:?}");
    }
}

#[test]
fn lines_that_only_look_like_headings_are_text() {
    for text in [
        "1.5 is it",
        "1,000",
        "1",
        "0. zero",
        "01. one",
        "1997. A year",
        "1.x",
        "-1. a",
        " 1. a",
        "\t1. a",
        "Step 1 shows that",
        "Step 1a: x",
        "Step 1.5: x",
        "Steps 1: x",
        "Step one: x",
        "Step1: x",
        "#1. x",
        "####### 1. x",
        "> 1. x",
        "* 1. x",
        "**5**",
        "**Bold** 1. x",
        "(1) x",
        "1 . x",
        "### Part (a)",
        "Step 1-2: x",
        "2: 3",
        "***",
        "#",
        "",
    ] {
        let line = format!("intro\n{text}");
        assert_eq!(numbers(&line), [0_u32; 0], "{text:?}");
    }
}

#[test]
fn outer_space_before_the_first_line_is_no_heading_but_is_stripped() {
    assert_eq!(stripped("  3. foo \n"), "foo");
    assert_eq!(leading_number(" \n3. foo"), Some(3));
    assert_eq!(stripped(" foo "), "foo");
    assert_eq!(stripped("3.5 foo"), "3.5 foo");
}

#[test]
fn steps_keep_their_own_text_and_stand_apart() {
    let text = "1. **A** a\n\n   more\n\n2. **B** b\r\n\r\n10. **C** c\n";
    assert_eq!(
        texts(text),
        ["1. **A** a\n\n   more", "2. **B** b", "10. **C** c"]
    );
}

#[test]
fn the_preamble_is_kept_or_dropped_and_the_tail_is_the_last_steps() {
    let text = "\nTo solve:\n\n1. **A** a\n2. **B** b\n\nSo done.\n";
    assert_eq!(
        texts(text),
        ["To solve:\n\n1. **A** a", "2. **B** b\n\nSo done."]
    );
    let dropped = split_steps(text, Preamble::Drop);
    assert_eq!(&text[dropped[0].span.clone()], "1. **A** a");
}

#[test]
fn crlf_is_read_like_lf() {
    let lf = "intro\n\n1. **A:**\n```\n2. x\n```\n2. **B** b\n";
    let crlf = lf.replace('\n', "\r\n");
    assert_eq!(numbers(&crlf), [1, 2]);
    assert_eq!(titles(&crlf), titles(lf));
}

#[test]
fn numbering_in_another_style_is_text() {
    assert_eq!(
        numbers("1. **A**\n1. a\n2. b\n   1. **c**\n2. **B**"),
        [1, 2]
    );
    assert_eq!(
        numbers("**Step 1:** a\n1. **x**\n2. **y**\n**Step 2:** b"),
        [1, 2]
    );
    assert_eq!(numbers("### 1. A\n#### 1. a\n#### 2. b\n### 2. B"), [1, 2]);
    assert_eq!(numbers("1. a\n1) x\n2) y\n2. b"), [1, 2]);
}

#[test]
fn fences_and_latex_hide_headings() {
    for inner in [
        "```\n2. x\n```",
        "```python\n2. x\n\n3. y\n```",
        "~~~\n```\n2. x\n~~~",
        "````\n```\n2. x\n```\n````",
        "   ```\n2. x\n   ```",
        "\\[\n2. x\n\\]",
        "\\[ a \\\\[2pt]\n2. x\n\\]",
        "$$\n2. x\n$$",
        "so \\(x\n2. y\\) holds",
        "\\begin{align}\n2. x\n\\end{align}",
    ] {
        let text = format!("1. a\n{inner}\n2. b");
        assert_eq!(texts(&text)[1], "2. b", "{inner:?}");
        assert!(conforms(&text), "{inner:?}");
    }
}

#[test]
fn openers_without_closers_hide_nothing() {
    for inner in [
        "```",
        "~~~~",
        "$$",
        "\\[",
        "\\(",
        "\\begin{x}",
        "\\\\[2pt] $5",
        "$$\n\n",
        "```\n````x",
    ] {
        let text = format!("1. a {inner}\n{inner}\n\n2. b\n\n3. c $$ \\] \\end{{x}}");
        assert_eq!(numbers(&text), [1, 2, 3], "{inner:?}");
    }
}

#[test]
fn a_restarting_list_is_text_where_the_main_numbering_resumes() {
    assert!(conforms("1. a\n2. b\n3. c\n1. x\n2. y\n4. d"));
    assert_eq!(
        texts("1. a\n2. b\n1. x\n2. y\n3. z\n3. c")[1],
        "2. b\n1. x\n2. y\n3. z"
    );
    assert!(conforms("1. a\n2. b\n3. c\n1. x\n1. y\n2. z\n4. d"));
}

#[test]
fn a_restart_that_could_be_a_second_part_is_refused() {
    assert_eq!(refused("1. a\n2. b\n1. c\n2. d"), Reason::Restarted);
    assert_eq!(
        refused("1. a\n2. b\n1. c\n2. d\n3. e\n4. f"),
        Reason::Restarted
    );
    assert_eq!(refused("1. a\n1. b\n1. c"), Reason::Restarted);
    assert_eq!(
        refused("1. a\n2. b\n3. c\n1. x\n2. y\n7. d"),
        Reason::Restarted
    );
}

#[test]
fn every_reason_is_given_with_its_numbers() {
    for (text, reason, expected, found) in [
        ("", Reason::NoHeadings, None, None),
        ("42", Reason::NoHeadings, None, None),
        ("2. a\n3. b", Reason::DoesNotStartAtOne, Some(1), Some(2)),
        ("1. a\n2. b\n4. d", Reason::NotConsecutive, Some(3), Some(4)),
        ("1. a\n2. b\n2. c", Reason::NotConsecutive, Some(3), Some(2)),
        ("1. a\n2. b\n1. c", Reason::Restarted, Some(3), Some(1)),
        (
            "1. x\n2. y\n\n1. **A** a\n2. **B** b",
            Reason::RivalNumbering,
            None,
            None,
        ),
        (
            "1. x\n2. y\n\nStep 1: a\n\nStep 2: b",
            Reason::RivalNumbering,
            None,
            None,
        ),
        ("1. **A** only", Reason::SingleStep, None, None),
        ("1. a\n2.\n3. c", Reason::EmptyStep, None, Some(2)),
        (
            "**Step 1:**\n\n**Step 2:** b",
            Reason::EmptyStep,
            None,
            Some(1),
        ),
    ] {
        let refusal = NonConforming {
            reason,
            expected,
            found,
        };
        assert_eq!(
            parse_solution(text, Preamble::Keep),
            Err(refusal),
            "{text:?}"
        );
    }
}

#[test]
fn a_models_text_may_start_anywhere_and_leave_gaps() {
    assert_eq!(numbers("3. a"), [3]);
    assert_eq!(numbers("3. a\n4. b"), [3, 4]);
    assert_eq!(numbers("3. a\n5. b"), [3, 5]);
    assert_eq!(numbers("3. a\n3. b"), [3, 3]);
    assert_eq!(numbers("3. a\n1. x\n2. y\n3. z\n4. w"), [3]);
}

#[test]
fn any_white_space_ends_a_number() {
    // Trimming a step must not turn its last line into a heading or a fence.
    assert_eq!(numbers("1. a\n2. b\n\n3.\u{2000}\u{b}"), [1, 2, 3]);
    assert_eq!(refused("1. a\n2. b\n\n3.\u{2000}"), Reason::EmptyStep);
    assert_eq!(numbers("1. a\n```\n```\u{2000}\n2. b"), [1, 2]);
}

/// Pieces that meet every branch of the scanner.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[1-4]\\. [a-z]{0,4}\n",
        "[1-4]\\. \\*\\*[A-Z]{1,3}:?\\*\\* [a-z]{0,4}\r?\n",
        "(\\*\\*)?Step [1-4]:(\\*\\*)? ?[a-z]{0,3}\n",
        "#{1,3} (Step )?[1-4]\\. [A-Z]\n",
        "(```|~~~|````)[a-z]?\n",
        "(\\$\\$|\\\\\\[|\\\\\\]|\\\\\\(|\\\\\\)|\\\\begin\\{a\\}|\\\\end\\{a\\}|\\\\\\\\|\\$) ?\n?",
        "\n",
        "[ a-zé*#.1)~`\u{a0}\u{b}\u{2000}]{0,8}\n?",
        "([1-4]\\.|```|Step [1-4])[\u{2000}\u{b} ]\n?",
    ]
}

fn document() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_are_trimmed_ordered_slices(text in document()) {
        let steps = split_steps(&text, Preamble::Drop);
        let mut end = 0;
        for step in &steps {
            prop_assert!(end <= step.span.start);
            let own = &text[step.span.clone()];
            prop_assert_eq!(own, own.trim());
            prop_assert_eq!(leading_number(own), Some(step.number));
            end = step.span.end;
        }
    }

    #[test]
    fn several_steps_are_told_without_cutting_them(text in document()) {
        let steps = split_steps(&text, Preamble::Keep);
        prop_assert_eq!(has_several_steps(&text), steps.len() > 1);
    }

    #[test]
    fn each_step_of_a_conforming_solution_is_one_step_alone(text in document()) {
        for preamble in [Preamble::Keep, Preamble::Drop] {
            let Ok(steps) = parse_solution(&text, preamble) else { continue };
            let found: Vec<u32> = steps.iter().map(|step| step.number).collect();
            let wanted: Vec<u32> = (1..).take(steps.len()).collect();
            prop_assert_eq!(found, wanted);
            for step in &steps {
                prop_assert_eq!(numbers(&text[step.span.clone()]), [step.number]);
            }
        }
    }

    #[test]
    fn a_conforming_solution_splits_the_same(text in document()) {
        if let Ok(steps) = parse_solution(&text, Preamble::Keep) {
            prop_assert_eq!(steps, split_steps(&text, Preamble::Keep));
        }
    }

    #[test]
    fn rendered_steps_come_back(bodies in prop::collection::vec("[a-z]{1,9}( [a-z]{1,9}){0,3}", 2..40)) {
        let rendered: Vec<String> =
            bodies.iter().enumerate().map(|(i, body)| format!("{}. **T** {body}", i + 1)).collect();
        let text = rendered.join("\n\n");
        let steps = parse_solution(&text, Preamble::Keep).expect("conforming");
        let own: Vec<&str> = steps.iter().map(|step| &text[step.span.clone()]).collect();
        prop_assert_eq!(own, rendered);
    }

    #[test]
    fn no_text_breaks_the_parser(text in any::<String>()) {
        let _ = split_steps(&text, Preamble::Keep);
        let _ = parse_solution(&text, Preamble::Drop);
        let found = strip_number(&text);
        prop_assert!(text.is_char_boundary(found.start) && found.start <= found.end);
    }
}
