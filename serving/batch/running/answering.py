"""A line's way from its candidate to the journal."""

from __future__ import annotations

from collections import Counter
from io import BufferedReader
from typing import Any

from probes.errors import BackendError
from router.configuration.pool import Pool
from router.policies import Bar
from serving.batch.job import Job, error_row
from serving.batch.reading.lines import Line, parse_line
from serving.batch.reading.survey import Survey
from serving.batch.running.looking import looked_at
from serving.batch.running.reply import NO_MONEY, Asker, Reply, is_final
from serving.http.errors import ApiError
from serving.policies.tried import Tried

FAILURES_IN_A_ROW = 20
SECOND = "likelier than the first; nobody is asked a third time"


class Answering:
    """Asks for single lines.

    Parameters
    ----------
    pool
        The candidates.
    asker
        Reaches them.
    handle
        The input.
    survey
        Of its lines.
    job
        Keeps the answers.
    bar
        What a first answer is looked at for; None: answers are not looked at.
    """

    def __init__(
        self, pool: Pool, asker: Asker, handle: BufferedReader, survey: Survey, job: Job, bar: Bar | None
    ) -> None:
        self._pool, self._asker, self._handle = pool, asker, handle
        self._survey, self._job, self._bar = survey, job, bar
        self._failed: Counter[str] = Counter()
        self.late: list[dict[str, Any]] = []

    async def first(self, row: int, k: int) -> float:
        """Ask for a line's answer; what that has cost in US dollars.

        Raises
        ------
        BackendError
            The backend refuses one line after another.
        """
        line, name, tried, doubtful = self._line(row), self._pool.names[k], None, False
        try:
            if self._bar is None or not self._somebody_likelier(row, k):
                reply = await self._asker.ask(line.query, name)
            else:
                looked = await looked_at(self._asker, line.query, name)
                reply, verdict = looked.reply, self._bar.judge(looked.confidence)
                doubtful = not verdict.kept
                tried = Tried(name, looked.confidence, True, self._paid(k, reply), verdict.reason)
        except ApiError as error:
            self._fail(line, k, error)
            return 0.0
        cost_usd = self._paid(k, reply)
        decision = self._decision(row, k, cost_usd)
        if tried is not None:
            decision["calls"] = [tried.to_dict()]
        output = self._output(line, reply, decision)
        self._job.answer(line.number, k, cost_usd, output, doubtful=doubtful)
        return cost_usd

    async def second(self, row: int, k: int) -> float:
        """Ask a likelier candidate for a line in doubt; without its answer the first one stands."""
        line = self._line(row)
        try:
            reply = await self._asker.ask(line.query, self._pool.names[k])
        except ApiError as error:
            if is_final(error):
                self._job.stand(line.number, error.message)
            elif error.code != NO_MONEY:
                self._count(k, error)
            return 0.0
        cost_usd = self._paid(k, reply)
        first = self._job.output_of(line.number)["foresight"]
        tried = Tried(self._pool.names[k], None, True, cost_usd, SECOND)
        decision = {
            **self._decision(row, k, first["cost_usd"] + cost_usd),
            "chosen_by": "the self-check",
            "calls": [{**first["calls"][0], "kept": False}, tried.to_dict()],
        }
        self._job.answer_again(line.number, k, cost_usd, self._output(line, reply, decision))
        return cost_usd

    def too_late(self, row: int) -> None:
        """The money was spent before this line."""
        number = int(self._survey.numbers[row])
        told = "The budget was spent before this line."
        self.late.append(error_row(self._line(row).custom_id, number, "budget_exhausted", told))

    def _somebody_likelier(self, row: int, k: int) -> bool:
        success = self._survey.worth.success[:, row]
        return bool((success > success[k]).any())

    def _line(self, row: int) -> Line:
        number, offset = int(self._survey.numbers[row]), int(self._survey.offsets[row])
        self._handle.seek(offset)
        item = parse_line(number, offset, self._handle.readline())
        if not isinstance(item, Line):
            raise BackendError(f"The input changed while the job ran: {item}.", hint="Put the old file back.")
        return item

    def _paid(self, k: int, reply: Reply) -> float:
        self._failed[self._pool.candidates[k].backend] = 0
        return self._pool.candidates[k].price.usd(reply.input_tokens, reply.output_tokens)

    def _fail(self, line: Line, k: int, error: ApiError) -> None:
        row = error_row(line.custom_id, line.number, error.code or f"status_{error.status}", error.message)
        if is_final(error):
            self._job.refuse(line.number, k, row)
            return
        self.late.append(row)
        self._count(k, error)

    def _count(self, k: int, error: ApiError) -> None:
        candidate = self._pool.candidates[k]
        self._failed[candidate.backend] += 1
        if self._failed[candidate.backend] >= FAILURES_IN_A_ROW:
            raise BackendError(
                f"{candidate.name} failed {FAILURES_IN_A_ROW} times in a row ({error.message}).",
                param=candidate.name,
                hint="Look after the backend; the same command goes on from what is finished.",
            )

    def _decision(self, row: int, k: int, cost_usd: float) -> dict[str, Any]:
        worth = self._survey.worth
        return {
            "candidate": self._pool.names[k],
            "success": round(float(worth.success[k, row]), 6),
            "expected_cost_usd": float(f"{worth.cost_usd[k, row]:.6g}"),
            "cost_usd": cost_usd,
            "chosen_by": "the job" if self._survey.own[row] < 0 else "the line",
        }

    def _output(self, line: Line, reply: Reply, decision: dict[str, Any]) -> dict[str, Any]:
        """A line of the output file; ids come from the line, so that a second run writes the same."""
        name = f"{line.number}-{self._job.terms['input'][:12]}"
        body = {**reply.body, "id": f"chatcmpl-{name}", "created": self._job.created}
        return {
            "id": f"batch_req_{name}",
            "custom_id": line.custom_id,
            "response": {"status_code": 200, "request_id": f"req_{name}", "body": body},
            "error": None,
            "foresight": decision,
        }
