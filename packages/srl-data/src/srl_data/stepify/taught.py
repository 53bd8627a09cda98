"""Solutions with the steps or titles of a teacher, in the order of the rows."""

from collections.abc import Iterator

from srl_data.http_client import JsonClient
from srl_data.in_flight import in_order
from srl_data.stepify.config import StepifyConfig
from srl_data.stepify.cut import Cut
from srl_data.stepify.cutting import Numbered, cut_given
from srl_data.stepify.outcome import Outcome, answers_path
from srl_data.stepify.render import Refused
from srl_data.stepify.teacher import AnswerLog, Teacher


def taught(
    config: StepifyConfig, solutions: Iterator[Numbered], outcome: Outcome
) -> Iterator[tuple[Numbered, Cut | Refused]]:
    """Each solution with its cut; the answers' log stands beside the output."""
    log = AnswerLog(None if config.output is None else answers_path(config.output))
    teacher = Teacher(config.teacher, config.options(), log)

    async def work(client: JsonClient, each: Numbered) -> tuple[Numbered, Cut | Refused]:
        if isinstance(each.given, Refused):
            return each, each.given
        if not config.teacher.titles:
            return each, await teacher.steps_of(client, each.given)
        cut = cut_given(each.given, config.options())
        if isinstance(cut, Refused):
            return each, cut
        return each, await teacher.titled(client, each.given, cut)

    for done in in_order(solutions, work, teacher.client, config.teacher.concurrency):
        outcome.asked = log.asked
        yield done
