"""The router: a prompt in, a decision out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from probes.encoders.conversation import Conversation, Tools, as_conversation, text_of
from probes.encoders.encoder import Activations, Encoder, ScoutIdentity
from probes.errors import ArtefactError, BackendError, ForesightError, UsageError
from probes.forecast.trend.shift import shifted, trends_from
from probes.scoring.scorer import Scorer
from probes.scoring.scores import ScoreTable
from router.artefact import Artefact
from router.configuration.complaints import closest
from router.configuration.pool import Pool
from router.configuration.settings import FITTED, PolicySettings
from router.decisions.deciding import Scores, decide
from router.decisions.decision import Decision
from router.decisions.unread import Unread
from router.decisions.wishes import Options, parse_options
from router.fitted import Fitted
from router.identity import require_identity
from router.policies import POLICIES, Fixed, Policy, policy_from
from router.policies.registry import DESCRIBED
from router.scout import open_scout

LENGTHS = "lengths"
"""Where in an artefact's record the candidates' length trends stand."""

_log = logging.getLogger(__name__)


class Router:
    """Chooses a candidate of a pool for each query.

    Parameters
    ----------
    pool : Pool
        Candidates, prices and policies; every candidate must have been fitted.
    scorer : Scorer
        Success probabilities and lengths from activations.
    fitted : Fitted
        Knobs and levels from the calibration split.
    identity : ScoutIdentity
        The scout that the scorer was fitted on.
    encoder : Encoder, optional
        Reads prompts; by default the pool's scout in transformers, loaded when first needed.
    record : mapping, optional
        What the artefact says about its making.

    Raises
    ------
    ArtefactError
        A candidate was not fitted, or the encoder is another scout.

    Examples
    --------
    >>> router = Router.load("router/")                           # doctest: +SKIP
    >>> router.decide("What is 2 + 2?").candidate                 # doctest: +SKIP
    'ladder-s'
    """

    def __init__(
        self,
        pool: Pool,
        scorer: Scorer,
        fitted: Fitted,
        identity: ScoutIdentity,
        *,
        encoder: Encoder | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        for name in pool.names:
            if name not in fitted.candidates:
                raise ArtefactError(
                    f"The router was not fitted for {name!r} (it knows {', '.join(fitted.candidates)}).",
                    param="candidates",
                    hint="Run `foresight fit` with outcomes of this candidate.",
                )
        if encoder is not None:
            require_identity(identity, encoder.identity)
        self.pool = pool
        self.scorer = scorer
        self.fitted = fitted
        self.identity = identity
        self.record = dict(record or {})
        self.trends = trends_from(self.record.get(LENGTHS))
        self._encoder = encoder
        columns = [fitted.candidates.index(name) for name in pool.names]
        as_fitted = columns == list(range(len(fitted.candidates)))
        self._columns = slice(None) if as_fitted else np.array(columns)
        self._policies: dict[str | None, Policy] = {}
        self._policies_of = (pool, fitted)

    @classmethod
    def load(cls, folder: str | Path, *, pool: Pool | None = None, encoder: Encoder | None = None) -> Router:
        """Read a fitted router.

        Parameters
        ----------
        folder : path
            What `foresight fit` wrote.
        pool : Pool, optional
            Today's prices, policies and candidates, if they differ from those at the time of fitting.
        encoder : Encoder, optional
            As for the class.

        Raises
        ------
        ArtefactError
            The folder holds no router of this version, or one for another scout or other candidates.
        """
        parts = Artefact.read(folder)
        chosen = parts.pool if pool is None else pool
        return cls(chosen, parts.scorer, parts.fitted, parts.identity, encoder=encoder, record=parts.record)

    def save(self, folder: str | Path) -> None:
        """Write the router; see `Artefact.write`."""
        Artefact(self.pool, self.identity, self.scorer, self.fitted, self.record).write(folder)

    @property
    def encoder(self) -> Encoder:
        """The scout; loading it takes seconds, so that servers touch this once at the start.

        Raises
        ------
        ArtefactError
            The pool's scout is not the one that the router was fitted on.
        MissingExtraError
            transformers is not installed.
        """
        if self._encoder is None:
            self._encoder = open_scout(self.pool.scout, like=self.identity)
        return self._encoder

    @property
    def safe_candidate(self) -> str:
        """Who answers when the router cannot tell: the pool's choice, else the most accurate candidate.

        The most accurate when the router was fitted, if it is still there: a newcomer's level is uncertain.
        """
        if self.pool.scout.safe_candidate or self.fitted.safe_candidate in self.pool.names:
            return self.pool.scout.safe_candidate or self.fitted.safe_candidate
        return max(self.pool.names, key=self.fitted.success.__getitem__)

    def policy(self, name: str | None = None) -> Policy:
        """A policy by name: one of the pool's, or a rule with its fitted knob; None is the pool's default.

        It is made when it is first asked for.

        Raises
        ------
        UsageError
            There is no such policy, or its knob is neither set nor fitted.
        """
        if self._policies_of[0] is not self.pool or self._policies_of[1] is not self.fitted:
            self._policies, self._policies_of = {}, (self.pool, self.fitted)
        if (policy := self._policies.get(name)) is None:
            policy = self._policies[name] = self._make_policy(name)
        return policy

    def _make_policy(self, name: str | None) -> Policy:
        rules = [FITTED, *(rule for rule in POLICIES if rule not in DESCRIBED)]
        settings = self.pool.policy
        if name in self.pool.policies:
            settings = self.pool.policies[name]
        elif name in rules and name != settings.rule:
            settings = PolicySettings.model_validate({"rule": name})
        elif name is not None and name != settings.rule:
            known = [*self.pool.policies, *rules]
            hint = closest(name, known) or f"There are: {', '.join(known)}."
            raise UsageError(f"There is no policy {name!r}.", param="policy", hint=hint)
        if settings.rule == FITTED:
            settings = settings.model_copy(update={"rule": self.fitted.rule})
        policy = policy_from(settings, self.fitted.knobs)
        if settings.rule in self.fitted.static and policy.knob not in settings.knobs:
            return Fixed(self.safe_candidate)  # do no harm: this rule did not pay
        return policy

    def decide(
        self, prompt: str | Conversation, *, tools: Tools | None = None, **options: Unpack[Options]
    ) -> Decision:
        """Decide one query.

        Parameters
        ----------
        prompt : str or sequence of messages
            The whole conversation.
        tools : sequence of mappings, optional
            OpenAI's tool objects; they are part of what the scout reads.
        **options
            See `router.decisions.wishes.Options`.

        Raises
        ------
        UsageError
            The messages, an option or a name is wrong, or no candidate is eligible.

        Notes
        -----
        Fails open: an error of the scout sends the query to the safe candidate, and the decision says so.
        """
        return self.decide_many([prompt], tools=tools, **options)[0]

    def decide_many(
        self,
        prompts: Iterable[str | Conversation],
        *,
        tools: Tools | None = None,
        **options: Unpack[Options],
    ) -> list[Decision]:
        """Decide queries that share their options, encoded together; see `decide`."""
        conversations = [as_conversation(prompt) for prompt in prompts]
        encoder = self.encoder
        try:
            activations = encoder.encode(conversations, tools=tools)
        except BackendError as error:
            why = f"the scout failed ({error.message})"
        except ForesightError:
            raise
        except Exception as error:  # an encoder may raise anything, and no query may be lost by it
            _log.exception("The scout failed")
            why = f"the scout failed ({type(error).__name__})"
        else:
            return self.decide_batch(activations, **options)
        return self._decide_unread([_guessed_tokens(c) for c in conversations], why, options)

    def decide_activations(
        self,
        activations: Activations | None,
        *,
        failure: str | None = None,
        conversation: Conversation | None = None,
        **options: Unpack[Options],
    ) -> Decision:
        """Decide one query that somebody else has read, or failed to read.

        Parameters
        ----------
        activations : Activations, optional
            Of one query; None sends it to the safe candidate.
        failure : str, optional
            Why there are no activations.
        conversation : sequence of messages, optional
            Where there are no activations, its length is guessed from the text.
        **options
            See `router.decisions.wishes.Options`.
        """
        if activations is not None:
            return self.decide_batch(activations, **options)[0]
        tokens = 0.0 if conversation is None else _guessed_tokens(conversation)
        return self._decide_unread([tokens], failure or "the prompt was not read", options)[0]

    def decide_batch(self, activations: Activations, **options: Unpack[Options]) -> list[Decision]:
        """Decide n queries that were read elsewhere and share their options; see `decide`."""
        return self.decide_scored(self.scorer.score(activations.features()), activations.n_tokens, **options)

    def decide_scored(
        self, scored: ScoreTable, n_tokens: npt.ArrayLike, **options: Unpack[Options]
    ) -> list[Decision]:
        """Decide n queries that were read and scored elsewhere, of these lengths [n]; see `decide`."""
        success = np.asarray(scored.success[:, self._columns], dtype=np.float64)
        scores = Scores(
            shifted(success, n_tokens, self.pool.names, self.trends),
            np.asarray(scored.output_tokens[:, self._columns], dtype=np.float64),
            np.asarray(n_tokens, dtype=np.float64),
            np.asarray(scored.novelty, dtype=np.float64),
            scored.novel,
        )
        return self._decide(scores, options)

    def _decide_unread(self, tokens: Sequence[float], why: str, options: Options) -> list[Decision]:
        """Without scores: success and lengths are each candidate's means over the calibration split."""
        if len(tokens) == 1 and not options.get("cached_tokens"):
            wishes, needs = parse_options(options)
            length = tokens[0] if needs.input_tokens is None else float(needs.input_tokens)
            unread, policy = Unread(self.pool, self.fitted), wishes.chosen_policy(self.policy)
            decision = unread.decide(length, why, self.safe_candidate, policy, wishes, needs)
            if decision is not None:
                return [decision]
        success = [[self.fitted.success[name] for name in self.pool.names]] * len(tokens)
        lengths = [[self.fitted.output_tokens[name] for name in self.pool.names]] * len(tokens)
        scores = Scores(np.array(success), np.array(lengths), np.array(tokens), unread=why)
        return self._decide(scores, options)

    def _decide(self, scores: Scores, options: Options) -> list[Decision]:
        wishes, needs = parse_options(options)
        policy = wishes.chosen_policy(self.policy)
        if needs.input_tokens is not None:
            scores = replace(scores, input_tokens=np.full(len(scores), float(needs.input_tokens)))
        if queue_s := options.get("queue_s"):
            scores = replace(scores, queue_s=np.array([queue_s.get(name, 0.0) for name in self.pool.names]))
        if cached := options.get("cached_tokens"):
            held = np.array([float(cached.get(name, 0)) for name in self.pool.names])
            scores = replace(scores, cached_tokens=np.tile(held, (len(scores), 1)))
        return decide(self.pool, scores, policy, self.safe_candidate, wishes, needs)


def _guessed_tokens(conversation: Conversation) -> float:
    """A rough length in tokens: four characters a token, and a few for each message's frame."""
    return sum(8 + len(text_of(message.get("content"))) / 4 for message in conversation)
