"""The table of small solutions in many styles and languages, each with its right cut."""

from pathlib import Path

import pytest
import yaml

from srl_data.stepify.cut import Cut, CutOptions, cut_solution
from srl_reward import strip_step_number

CASES = yaml.safe_load((Path(__file__).parent / "data/stepify_cases.yaml").read_text("utf-8"))


def test_the_table_holds_sixty_solutions() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_solution_is_cut_as_its_reader_would(case: dict[str, object]) -> None:
    cut = cut_solution(str(case["text"]), CutOptions(**case.get("options", {})))
    assert isinstance(cut, Cut), cut
    assert [strip_step_number(step) for step in cut.rendered.steps] == case["steps"]
