"""Asks for an answer and for how sure it is of itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from serving.batch.running.reply import Asker, Reply, is_final
from serving.http.errors import ApiError
from serving.http.protocol import Query
from serving.policies.confidence import as_asked_for, confidence_of, wondering


@dataclass(frozen=True)
class Looked:
    """An answer as its client asked for it, and its confidence; None where it does not tell."""

    reply: Reply
    confidence: float | None


async def looked_at(asker: Asker, query: Query, candidate: str) -> Looked:
    """Ask with log-probabilities; without them where the candidate refuses to tell any.

    Raises
    ------
    ApiError
        As `Asker.ask`.
    """
    curious = wondering(query)
    try:
        reply = await asker.ask(curious, candidate)
    except ApiError as error:
        if curious is query or not is_final(error):
            raise
        reply = await asker.ask(query, candidate)
    told = confidence_of([reply.body])
    confidence = None if told is None else round(told, 4)  # the same whoever stood beside it in a batch
    return Looked(replace(reply, body=as_asked_for(query, reply.body)), confidence)
