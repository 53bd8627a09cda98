//! The output grammar: each reason, and parse ∘ render = identity.

use proptest::prelude::*;
use srl_core::output::{InvalidReason, is_think_prefilled, parse_step_output};

fn parsed(text: &str, prefilled: bool) -> (&str, &str, Option<u32>) {
    let output = parse_step_output(text, prefilled, false).expect("valid");
    (&text[output.thinking], &text[output.action], output.number)
}

fn refused(text: &str, prefilled: bool) -> InvalidReason {
    parse_step_output(text, prefilled, false).expect_err("invalid")
}

#[test]
fn a_valid_output_is_thinking_then_one_step() {
    assert_eq!(
        parsed("<think>a b</think>\n3. **T** x\n", false),
        ("a b", "3. **T** x", Some(3))
    );
    assert_eq!(parsed(" \n<think>\n\n</think>x", false), ("", "x", None));
    assert_eq!(parsed("a</think>x", true), ("a", "x", None));
    assert_eq!(
        parsed("<think>1. a\n2. b</think>x", false),
        ("1. a\n2. b", "x", None)
    );
    assert_eq!(
        parsed("<think>a < b <Think></think>x<y", false),
        ("a < b <Think>", "x<y", None)
    );
    assert_eq!(parsed("<think>a</think>2. b\n1. c\n2. d", false).2, Some(2));
}

#[test]
fn each_fault_has_its_reason() {
    use InvalidReason as R;
    for (text, prefilled, reason) in [
        ("", false, R::MissingThink),
        ("x", false, R::MissingThink),
        ("a</think>x", false, R::MissingThink),
        ("<THINK>a</THINK>x", false, R::MissingThink),
        ("hi <think>a</think>x", false, R::TextBeforeThink),
        ("<think>a", false, R::UnclosedThink),
        ("a", true, R::UnclosedThink),
        ("", true, R::UnclosedThink),
        ("<think>a<think>b</think>x", false, R::NestedThink),
        ("<think>a</think>x", true, R::NestedThink),
        ("<think><think>", false, R::NestedThink),
        ("<think>a</think><think>b</think>x", false, R::RepeatedThink),
        ("<think>a</think>x<think>", false, R::RepeatedThink),
        ("</think><think>a</think>x", false, R::MisplacedThink),
        ("<think>a</think>x</think>", false, R::MisplacedThink),
        ("a</think>b</think>x", true, R::MisplacedThink),
        ("<think>a</think>", false, R::EmptyAction),
        ("<think>a</think> \n", false, R::EmptyAction),
        ("<think>a</think>3.", false, R::EmptyAction),
        ("<think>a</think>**Step 3:**", false, R::EmptyAction),
        ("<think>a</think>1. x\n2. y", false, R::SeveralSteps),
        (
            "<think>a</think>**Step 4:** x\n\n**Step 5:** y",
            false,
            R::SeveralSteps,
        ),
    ] {
        assert_eq!(refused(text, prefilled), reason, "{text:?}");
    }
    let cut = parse_step_output("<think>a</think>x", false, true);
    assert_eq!(cut, Err(R::Truncated));
}

#[test]
fn a_prefilled_prompt_ends_with_the_open_tag() {
    assert!(is_think_prefilled("user: hi\nassistant: <think>"));
    assert!(is_think_prefilled("<think>\n \n"));
    assert!(!is_think_prefilled("write <think> first"));
    assert!(!is_think_prefilled("<think>\n\n</think>\n\n"));
    assert!(!is_think_prefilled(""));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parse_inverts_render(
        thinking in "[ -~\n]{0,40}", action in "([1-9]\\. )?[a-zA-Z][ -~]{0,40}", prefilled: bool,
    ) {
        prop_assume!(!thinking.contains("think>") && !action.contains("think>"));
        let open = if prefilled { "" } else { "<think>" };
        let text = format!("{open}{thinking}</think>\n{action}");
        let (found, step, _) = parsed(&text, prefilled);
        prop_assert_eq!(found, thinking.trim());
        prop_assert_eq!(step, action.trim());
    }

    #[test]
    fn no_text_breaks_the_parser(
        pieces in prop::collection::vec(prop_oneof!["<think>", "</think>", "\\PC{0,5}", "1\\. a\n"], 0..8),
        prefilled: bool,
    ) {
        let text = pieces.concat();
        if let Ok(output) = parse_step_output(&text, prefilled, false) {
            prop_assert!(output.thinking.end <= output.action.start);
            prop_assert!(!text[output.action].contains("think>"));
        }
    }
}
