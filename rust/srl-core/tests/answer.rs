//! Answers: every way a box is written, what AIME allows and refuses, and GSM8K's line.

use proptest::prelude::*;
use srl_core::answer::{extract_aime_answer, extract_boxed, extract_gsm8k_answer};

fn boxed(text: &str) -> Option<&str> {
    extract_boxed(text).map(|range| &text[range])
}

#[test]
fn the_last_complete_box_wins() {
    for (text, content) in [
        (r"\boxed{5}", "5"),
        (r"\boxed {5}", "5"),
        ("\\boxed\n {5}", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed{}", ""),
        (r"\boxed{1} and \boxed{2}", "2"),
        (r"\boxed{1} and \fbox{2} and \boxed", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{a\\}", r"a\\"),
        (r"\boxed{1 \boxed{2}", "2"),
        (r"\boxed{1} \boxed{2", "1"),
        (r"\boxed{x = \boxed{5}}", "5"),
        (r"} \boxed{5}", "5"),
        (r"\boxed{1{ and \boxed{33}", "33"),
        (r"\\boxed{5}", "5"),
        (r"\left\{ \boxed{5}", "5"),
        (r"{\boxed{5}}", "5"),
    ] {
        assert_eq!(boxed(text), Some(content), "{text:?}");
    }
    for text in [
        "",
        "5",
        r"\boxed",
        r"\boxed 5",
        r"\boxed{5",
        r"\boxed{5\}",
        r"\boxeds{5}",
        "boxed{5}",
    ] {
        assert_eq!(boxed(text), None, "{text:?}");
    }
}

#[test]
fn aime_accepts_the_many_ways_to_write_an_integer() {
    for content in [
        "33",
        "033",
        "0033",
        "33.",
        "33.0",
        "33.00",
        r"\text{33}",
        r"\mathbf{33}",
        " 33 ",
        "n = 33",
        "n=33",
        r"33^\circ",
        r"33^{\circ}",
        "33°",
        r"33\degree",
        r"\text{ 33 }",
        r"\textbf{33}",
        r"\mathrm{33}",
        r"\boldsymbol{33}",
        "{33}",
        "{{33}}",
        "$33$",
        r"\(33\)",
        "$n = 33$",
        r"\,33\,",
        r"\;33\!",
        r"33\ ",
        "~33",
        r"\displaystyle 33",
        r"\quad 33",
        "m + n = 33",
        r"m+n=\text{33}",
        r"\text{n = 33}",
        r"\text{n} = \text{33}",
        "{n = 33}",
        "a = b = 33",
        r"\mathbf{\text{33}}",
        r"\text{33}^\circ",
        r"\mathbf{33}^{\circ}",
        r"\frac{a}{b} = 33",
        "x_{n=3} = 33",
        "\n33\n",
    ] {
        assert_eq!(
            extract_aime_answer(&format!("\\boxed{{{content}}}")),
            Some(33),
            "{content:?}"
        );
    }
    for (text, value) in [
        (r"\fbox{33}", 33),
        (r"\boxed {33}", 33),
        (r"\boxed{0}", 0),
        (r"\boxed{000}", 0),
        (r"\boxed{999}", 999),
        (r"\boxed{1} then \boxed{2}", 2),
        (r"\boxed{9 and \boxed{33}", 33),
        (r"\boxed{\boxed{33}}", 33),
    ] {
        assert_eq!(extract_aime_answer(text), Some(value), "{text:?}");
    }
}

#[test]
fn aime_refuses_everything_else() {
    for content in [
        "1000",
        "-3",
        "3.5",
        "1,000",
        r"\frac{1}{2}",
        "2^{3}",
        "",
        " ",
        "33, 44",
        "1{,}000",
        "+33",
        r"\pm 3",
        "3 3",
        "33!",
        r"33\%",
        r"33 \text{ cm}",
        "n",
        "x < 33",
        "x <= 33",
        "x >= 33",
        "x != 33",
        r"\sqrt{4}",
        "33x",
        "x33",
        "0x21",
        "1e2",
        "٣٣",
        "３３",
        "33.5",
        ".5",
        ".",
        "0.0.0",
        "(33)",
        "33 or 34",
        "m=1, n=33",
        r"\text{thirty-three}",
        "=",
        "33=",
        "33 =",
        "3/1",
        "99999",
        "{33",
        r"\text{33}\text{33}",
        "33 = n",
        r"\$33",
    ] {
        assert_eq!(
            extract_aime_answer(&format!("\\boxed{{{content}}}")),
            None,
            "{content:?}"
        );
    }
    for text in [
        "",
        "33",
        "The answer is 33.",
        r"\boxed 33",
        r"\boxed{33",
        r"\boxed{33} so \boxed{done}",
    ] {
        assert_eq!(extract_aime_answer(text), None, "{text:?}");
    }
}

#[test]
fn gsm8k_reads_the_line_after_the_marks() {
    for (text, answer) in [
        ("so 5\n#### 18", "18"),
        ("####18", "18"),
        ("#### 1,234", "1234"),
        ("#### $1,234.50", "1234.5"),
        ("#### -3", "-3"),
        ("#### -$3", "-3"),
        ("#### 42.", "42"),
        ("#### 42.00", "42"),
        ("#### 007", "7"),
        ("#### 0", "0"),
        ("#### -0.0", "0"),
        ("#### 1\n#### 2\nend", "2"),
        ("#### 1,234,567", "1234567"),
        ("#### 18\r\n", "18"),
        ("#### 18 apples", "18"),
        ("#### 18%", "18"),
        ("#### 18 dollars.", "18"),
        ("#### $-3", "-3"),
        ("#### **18**", "18"),
        ("#### 18, of course", "18"),
    ] {
        assert_eq!(
            extract_gsm8k_answer(text).as_deref(),
            Some(answer),
            "{text:?}"
        );
    }
    for text in [
        "",
        "18",
        "### 18",
        "####",
        "####\n18",
        "#### x",
        "#### 18 or 19",
        "#### 18/2",
        "#### 9 * 2",
        "#### 18x = 36",
        "#### 10:30",
        "#### about 18",
        "#### 1,23",
        "#### 1.2.3",
        "#### ,123",
        "#### ٣",
    ] {
        assert_eq!(extract_gsm8k_answer(text), None, "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_aime_integer_comes_back(value in 0..1000_u16, width in 0..6_usize, before in "[a-z {]{0,9}") {
        let text = format!("{before}\\boxed{{{value:0width$}}}");
        prop_assert_eq!(extract_aime_answer(&text), Some(value));
    }

    #[test]
    fn a_balanced_content_comes_back(content in balanced(), before in "[a-z }]{0,9}") {
        let text = format!("{before}\\boxed{{{content}}} after");
        prop_assert_eq!(boxed(&text), Some(&content[..]));
    }

    #[test]
    fn no_text_breaks_the_extractors(
        pieces in prop::collection::vec(
            prop_oneof![r"\\boxed *", r"\{", r"\}", r"\\", r"\\text\{", "33", "=", r"\PC{0,3}", "####", r"\^\\circ"],
            0..16,
        ),
    ) {
        let text = pieces.concat();
        let _ = extract_aime_answer(&text);
        let _ = extract_gsm8k_answer(&text);
        if let Some(range) = extract_boxed(&text) {
            prop_assert_eq!(&text[range.end..=range.end], "}");
        }
    }
}

fn balanced() -> impl Strategy<Value = String> {
    let leaf = "[a-z0-9 +]{0,5}".prop_map(String::from);
    leaf.prop_recursive(4, 16, 3, |inner| {
        let group = inner.prop_map(|part| format!("\\frac{{{part}}}\\}}"));
        prop::collection::vec(group, 0..3).prop_map(|groups| groups.concat())
    })
}
