"""r1_zero's form and answers by math-verify's road and by Dr. GRPO's published rules, side by side.

Each row is an output on which the two differ, with the value of `make_reward("r1_zero", grader=…)`
under either. Left out: outputs on which they agree, which are most.

    python benchmarks/published_rules.py
"""

from srl_reward import make_reward

CASES = (
    (r"</think><answer>7</answer>", "7", "theirs wants one space before `<answer>`"),
    ("</think>\n<answer>7</answer>", "7", "and no line end"),
    (r"</think> <answer>\boxed{7}</answer> Bye.", "7", "ours lets nothing stand behind the tag"),
    (r"</think> So <answer></think> <answer>7</answer>", "7", "ours wants each tag once"),
    (r"</think> <answer>2/4</answer>", r"\frac{1}{2}", "theirs wants fractions reduced"),
    (r"</think> <answer>4+3</answer>", "7", "and an integer for an integer"),
    (r"</think> <answer>10000000000</answer>", "10^{10}", "and asks sympy about no such power"),
    (r"</think> <answer>x+y+z</answer>", "z+y+x", "nor about three letters"),
    (r"</think> <answer>\{1,2\}</answer>", r"\{2,1\}", "ours compares sets"),
    (r"</think> <answer>x \geq 2</answer>", r"[2,\infty)", "and an inequality with its interval"),
    (r"</think> <answer>5 cm</answer>", "5 m", "theirs drops every unit"),
)


def main() -> None:
    """Print the table of those that differ."""
    print("| after the thinking | right answer | `math` | `drgrpo` | |")
    print("| --- | --- | ---: | ---: | --- |")
    outputs = [f"<think>a{output}" for output, _, _ in CASES]
    golds = [gold for _, gold, _ in CASES]
    values = [make_reward("r1_zero", grader=g)(outputs, answer=golds) for g in ("math", "drgrpo")]
    for (output, gold, why), ours, theirs in zip(CASES, *values, strict=True):
        shown = output.replace("\n", "↵").replace("|", r"\|")
        print(f"| `{shown}` | `{gold}` | {ours:g} | {theirs:g} | {why} |")


if __name__ == "__main__":
    main()
