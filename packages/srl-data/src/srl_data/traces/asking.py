"""Questions to the teacher, many at a time, until all are asked or something stops the run.

What stops it lets the requests under way come to their end: they are paid for.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from srl_data.chat_client import PATH
from srl_data.chat_model import ChatAnswer
from srl_data.command.progress import Meter
from srl_data.endpoint import Endpoint
from srl_data.http_client import JsonClient, RequestError
from srl_data.in_flight import as_done
from srl_data.pace import Share, WindowLimit
from srl_data.traces.config import TracesConfig
from srl_data.traces.ledger import Ledger
from srl_data.traces.prices import Tariff
from srl_data.traces.purse import Purse
from srl_data.traces.questions import Question
from srl_data.traces.record import Failure, Reason, TokenCount, Trace
from srl_data.traces.replies import (
    HopelessError,
    NoAnswerError,
    bytes_bound,
    check_answered,
    clean,
    read_reply,
    reason_of,
)

WAIT_SECONDS = 5.0
"""Between two looks at the clock while off-peak hours are waited for."""


@dataclass(frozen=True)
class Asked:
    """A question and which of its answers is asked for."""

    question: Question
    sample: int


@dataclass
class Asking:
    """One run: what it may spend, how fast it may go, and what became of it."""

    config: TracesConfig
    endpoint: Endpoint
    ledger: Ledger
    tariff: Tariff
    purse: Purse
    meter: Meter
    stopped: str | None = None
    """Why the run ended before its end."""
    fatal: RequestError | None = None
    """What every other question would meet too."""
    answered: int = 0
    retries: int = 0
    failed: dict[Reason, list[str]] = field(default_factory=dict)
    """Names of the questions that got no answer."""
    in_a_row: int = 0
    _asked: int = 0
    _tokens: int = 0
    """Of the answers so far."""

    def __post_init__(self) -> None:
        pace = self.config.pace
        per_minute, tokens = pace.requests_per_minute, pace.tokens_per_minute
        self._requests = None if per_minute is None else WindowLimit(per_minute)
        self._token_limit = None if tokens is None else WindowLimit(tokens)

    def run(self, wanted: Iterator[Asked]) -> None:
        """Ask for all that is wanted, as far as nothing stops it."""
        for _, was_asked in as_done(
            self._until_stopped(wanted), self._one, self._client, self.config.pace.concurrency
        ):
            if was_asked:
                self.meter.advance(note=self._note())

    def _client(self) -> JsonClient:
        return JsonClient(self.endpoint, self.config.pace.concurrency, self._gate)

    async def _gate(self) -> None:
        if self._requests is not None:
            await self._requests.take()

    def _until_stopped(self, wanted: Iterator[Asked]) -> Iterator[Asked]:
        for each in wanted:
            if self.stopped:
                return
            yield each

    def _stop(self, reason: str) -> None:
        self.stopped = self.stopped or reason

    def _note(self) -> str:
        failures = sum(map(len, self.failed.values()))
        cost = f"{self.ledger.bill.cost:.4f} {self.tariff.currency}"
        parts = [cost] if self.tariff.price is not None else []
        return ", ".join([*parts, f"{failures} failed"] if failures else parts)

    async def _one(self, client: JsonClient, asked: Asked) -> bool:
        """One answer, from waiting for its turn to the line on the disk; whether it was asked."""
        await self._off_peak()
        if self.stopped:
            return False
        most = self._most(asked)
        aside = await self.purse.set_aside(most)
        if aside is None:
            self._stop(self._broke(most))
            return False
        try:
            return await self._ask(client, asked)
        finally:
            self.retries = client.retries
            await self.purse.settle(aside)

    async def _off_peak(self) -> None:
        """Wait for the cheap hours, if that is asked for."""
        while self.config.money.wait_offpeak and not self.stopped:
            seconds = self.tariff.window.seconds_until(datetime.now(UTC))
            if seconds <= 0:
                return
            self.meter.note = f"waiting for the off-peak hours ({seconds / 60:.0f} minutes)"
            self.meter.show()
            await asyncio.sleep(min(seconds, WAIT_SECONDS))

    def _most(self, asked: Asked) -> Decimal | None:
        """What an answer may cost at most; None where nothing bounds it."""
        longest = self.config.sampling.max_tokens
        if self.config.money.budget is None or longest is None:
            return None
        return self.tariff.most(bytes_bound(prompt_texts(asked)), longest)

    def _broke(self, most: Decimal | None) -> str:
        next_one = "" if most is None else f", and the next answer may cost {most:.6f}"
        return (
            f"the budget of {self.config.money.budget} {self.tariff.currency} is used up: "
            f"{self.purse.spent:.6f} spent{next_one}; raise --budget"
        )

    async def _ask(self, client: JsonClient, asked: Asked) -> bool:
        share = await self._take_tokens(asked)
        if self.stopped:
            return False
        seed = self.config.sampling.seed
        drawn = None if seed is None else asked.question.seed(seed, asked.sample)
        body = self.config.teacher(drawn).request(asked.question.messages)
        try:
            reply = await client.read(PATH, body, lambda answer: self._read(asked, answer))
        except RequestError as error:
            self._fail(asked, error)
        else:
            self._keep(asked, reply, share)
        return True

    async def _take_tokens(self, asked: Asked) -> Share | None:
        """Wait until the next answer fits into the minute's tokens, as far as can be foreseen."""
        if self._token_limit is None:
            return None
        mean = self._tokens / self._asked if self._asked else None
        guess = bytes_bound(prompt_texts(asked)) / 4 + (self.config.sampling.max_tokens or 1000)
        return await self._token_limit.take(guess if mean is None else mean)

    def _read(self, asked: Asked, answer: object) -> ChatAnswer:
        """A reply with an answer in it; one without is booked, for it is paid for."""
        reply = read_reply(answer)
        try:
            check_answered(reply)
        except (NoAnswerError, HopelessError) as error:
            reason = error.reason if isinstance(error, HopelessError) else "empty"
            self._line(asked, reason, str(error), 1, given_up=False, reply=reply)
            if self.purse.overdrawn:
                raise RequestError("nothing is left of the budget", passing=True) from error
            raise
        return reply

    def _keep(self, asked: Asked, reply: ChatAnswer, share: Share | None) -> None:
        """An answer to the disk, and into all that is counted."""
        key, question = self.endpoint.key, asked.question
        reasoning = None if reply.reasoning is None else clean(reply.reasoning, key)
        self.ledger.answer(
            Trace(
                id=question.id,
                meta=question.meta,
                problem=question.problem,
                answer=question.answer,
                grader=question.grader,
                sample=asked.sample,
                model=self.config.model,
                reasoning_content=reasoning,
                content=clean(reply.content, key),
                finish_reason=reply.finish_reason and clean(reply.finish_reason, key),
                usage=TokenCount.of(reply.usage),
                cost=self._pay(asked, reply),
                request=question.request,
            )
        )
        self.answered += 1
        self.in_a_row = 0
        if reply.usage is not None:
            total = reply.usage.prompt_tokens + reply.usage.completion_tokens
            self._asked, self._tokens = self._asked + 1, self._tokens + total
            if share is not None and self._token_limit is not None:
                self._token_limit.correct(share, total)

    def _pay(self, asked: Asked, reply: ChatAnswer) -> float | None:
        """What a reply costs, taken from the budget; without the server's count the most it may."""
        cost = self.tariff.cost(reply.usage, datetime.now(UTC))
        text = f"{reply.reasoning or ''}{reply.content}"
        self.purse.pay(self.tariff.guess(asked.question.problem, text) if cost is None else cost)
        return None if cost is None else float(cost)

    def _fail(self, asked: Asked, error: RequestError) -> None:
        """A question without an answer to the disk; the run stops where others would fare alike."""
        reason = reason_of(error)
        if reason is None:
            self.fatal = self.fatal or error
            self._stop(str(error))
            return
        name = name_of_asked(asked)
        self.failed.setdefault(reason, []).append(name)
        self._line(asked, reason, str(error), error.attempts, given_up=True, status=error.status)
        self.in_a_row += 1
        if self.in_a_row >= self.config.pace.max_failures:
            self._stop(
                f"{self.in_a_row} questions in a row got no answer, the last with: {error}; see to "
                "the server, or raise --max-failures"
            )

    def _line(
        self,
        asked: Asked,
        reason: Reason,
        detail: str,
        attempts: int,
        *,
        given_up: bool,
        status: int | None = None,
        reply: ChatAnswer | None = None,
    ) -> None:
        self.ledger.failure(
            Failure(
                id=asked.question.id,
                sample=asked.sample,
                reason=reason,
                detail=clean(detail, self.endpoint.key),
                status=status,
                attempts=attempts,
                given_up=given_up,
                usage=None if reply is None else TokenCount.of(reply.usage),
                cost=None if reply is None else self._pay(asked, reply),
            )
        )


def prompt_texts(asked: Asked) -> list[str]:
    """The texts of a request."""
    return [message["content"] for message in asked.question.messages]


def name_of_asked(asked: Asked) -> str:
    """A question's id, with the number of the answer where it is not the first."""
    return f"{asked.question.id}#{asked.sample}" if asked.sample else asked.question.id
