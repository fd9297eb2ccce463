"""The pool: which candidates there are, what they cost, where they run, who scouts and how to choose."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from probes.errors import ConfigError, UsageError
from router.configuration.complaints import closest, config_error, reference_error
from router.configuration.poolfile import read_yaml
from router.configuration.settings import (
    FITTED,
    Backend,
    Capability,
    Decoding,
    Latency,
    PolicySettings,
    Price,
    Scout,
    Settings,
)

Floats = npt.NDArray[np.float64]

_DEFAULT_CAPABILITIES: dict[str, frozenset[Capability]] = {
    "vllm": frozenset({"json_schema", "logprobs", "n"}),
    "openai": frozenset({"json_schema", "logprobs", "n"}),
    "local": frozenset({"n"}),
}


class Candidate(Settings):
    """A model together with how it is decoded: what can be chosen."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,127}$")
    """How clients, tables and headers call it; printable, not ``auto``."""
    model: str = Field(min_length=1)
    """The model's name at its backend; candidates of one model may share a backend."""
    backend: str
    """Name of one of the pool's backends."""
    price: Price
    """What its tokens cost."""
    context_tokens: int = Field(ge=1)
    """Longest prompt plus answer, in tokens."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    """Longest answer that it gives, in tokens."""
    capabilities: frozenset[Capability] | None = None
    """What it can do beyond text; None: what its kind of backend does."""
    latency: Latency = Latency()
    """How fast it usually answers."""
    decoding: Decoding = Decoding()
    """Defaults of the request body."""


@dataclass(frozen=True, eq=False)
class Columns:
    """What a decision reads of K candidates, as arrays; equal pools compare by their settings, not by these.

    Attributes
    ----------
    context_tokens, max_output_tokens : ndarray of shape (K,)
        Limits, infinite where none is set.
    speeds_s : ndarray of shape (K, 2)
        Seconds to the first token and per further token.
    prices : ndarray of shape (K, 2)
        US dollars per million tokens, in and out.
    cached_prices : ndarray of shape (K,)
        US dollars per million prompt tokens that a server holds from an earlier turn.
    """

    context_tokens: Floats
    max_output_tokens: Floats
    speeds_s: Floats
    prices: Floats
    cached_prices: Floats

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> Columns:
        """The candidates' columns."""
        speeds = [(c.latency.first_token_s, c.latency.per_output_token_s) for c in candidates]
        prices = [(c.price.usd_per_mtok_in, c.price.usd_per_mtok_out) for c in candidates]
        return cls(
            np.array([c.context_tokens for c in candidates], dtype=np.float64),
            np.array([c.max_output_tokens or np.inf for c in candidates]),
            np.array(speeds, dtype=np.float64).reshape(-1, 2),
            np.array(prices, dtype=np.float64).reshape(-1, 2),
            np.array([c.price.cached for c in candidates], dtype=np.float64),
        )


class Pool(Settings):
    """The candidates of a deployment.

    Examples
    --------
    >>> pool = Pool.load("pool.yaml")                             # doctest: +SKIP
    >>> pool["qwen3-8b:think"].price.usd_per_mtok_out             # doctest: +SKIP
    0.2
    """

    candidates: tuple[Candidate, ...] = Field(min_length=1)
    """What can be chosen."""
    backends: dict[str, Backend] = Field(min_length=1)
    """Where candidates run, by name."""
    scout: Scout
    """The model whose prefill is read."""
    policy: PolicySettings = PolicySettings(rule=FITTED)
    """How ``auto`` chooses; by default with the rule that fitting chose."""
    policies: dict[str, PolicySettings] = Field(default_factory=dict)
    """Further policies by name, for ``auto:NAME``."""
    serve: dict[str, Any] = Field(default_factory=dict)
    """Settings of the gateway, which checks them: `serving.settings.GatewaySettings`."""
    router: Path | None = None
    """Folder of the fitted router, relative to the pool file."""

    @classmethod
    def load(cls, path: str | Path) -> Pool:
        """Read a pool file.

        Parameters
        ----------
        path : path
            YAML. Paths in it are relative to the file.

        Raises
        ------
        ConfigError
            Naming the file, the dotted field, its value and the likely fix.
        """
        path = Path(path)
        pool = cls.parse(read_yaml(path), folder=path.resolve().parent, source=str(path))
        for param, model in pool._models():
            if Path(model).is_absolute() and not (Path(model) / "config.json").is_file():
                raise ConfigError(
                    f"{path}: {param}: no model in {model}: there is no config.json.",
                    param=param,
                    hint="Name a transformers folder relative to the pool file, or ladder-s|m|l.",
                )
        return pool

    @classmethod
    def parse(cls, data: Any, *, folder: Path, source: str = "pool") -> Pool:
        """Check what a pool file says; relative paths are taken from `folder`, `source` is for messages."""
        try:
            pool = cls.model_validate(data, context={"folder": folder})
        except ValidationError as error:
            raise config_error(cls, error, source) from error
        if pool.router is not None:
            pool = pool.model_copy(update={"router": (folder / pool.router.expanduser()).resolve()})
        return pool

    def snapshot(self, folder: Path) -> dict[str, Any]:
        """The pool as JSON, its paths relative to `folder`; `parse` reads it back."""
        absent = {"router", "serve"}
        return self.model_dump(mode="json", exclude=absent, exclude_none=True, context={"folder": folder})

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the K candidates, in the pool's order."""
        return tuple(candidate.name for candidate in self.candidates)

    @cached_property
    def columns(self) -> Columns:
        """The candidates' numbers as arrays, made once."""
        return Columns.of(self.candidates)

    @property
    def context_tokens(self) -> Floats:
        """Longest prompt plus answer of each of the K candidates, in tokens."""
        return self.columns.context_tokens

    @property
    def max_output_tokens(self) -> Floats:
        """Longest answer of each of the K candidates, in tokens; infinite where none is set."""
        return self.columns.max_output_tokens

    @property
    def speeds_s(self) -> Floats:
        """Seconds to the first token and per further token, of shape (K, 2)."""
        return self.columns.speeds_s

    @property
    def prices(self) -> Floats:
        """Prices of shape (K, 2): US dollars per million tokens, in and out."""
        return self.columns.prices

    def index(self, name: str) -> int:
        """Position of a candidate.

        Raises
        ------
        UsageError
            There is no such candidate; the hint holds the closest name.
        """
        if name not in self.names:
            known = ", ".join(self.names)
            hint = closest(name, self.names) or f"The pool has: {known}."
            raise UsageError(f"There is no candidate {name!r} in the pool.", param="candidate", hint=hint)
        return self.names.index(name)

    def __getitem__(self, name: str) -> Candidate:
        return self.candidates[self.index(name)]

    def capabilities(self, candidate: Candidate) -> frozenset[Capability]:
        """What a candidate can do, defaults of its backend's kind included."""
        if candidate.capabilities is not None:
            return candidate.capabilities
        return _DEFAULT_CAPABILITIES[self.backends[candidate.backend].kind]

    def _models(self) -> Iterator[tuple[str, str]]:
        """Dotted field and value of every model path."""
        yield "scout.model", self.scout.model
        for name, backend in self.backends.items():
            if backend.kind != "openai":
                yield f"backends.{name}.model_path", backend.model_path

    @model_validator(mode="after")
    def _references(self) -> Pool:
        names = [candidate.name for candidate in self.candidates]
        for k, candidate in enumerate(self.candidates):
            field = f"candidates[{k}].name"
            if candidate.name in names[:k]:
                raise reference_error(field, f"two candidates are called {candidate.name!r}")
            if candidate.name == "auto" or candidate.name.startswith("auto:"):
                raise reference_error(field, f"{candidate.name!r} is how clients name the router itself")
            _check(f"candidates[{k}].backend", candidate.backend, self.backends)
        _check("scout.safe_candidate", self.scout.safe_candidate, names)
        policies = {"policy": self.policy} | {f"policies.{n}": p for n, p in self.policies.items()}
        for where, policy in policies.items():
            _check(f"{where}.candidate", policy.candidate, names)
            for name in policy.weights or ():
                _check(f"{where}.weights", name, names)
            for name in policy.ladder or ():
                _check(f"{where}.ladder", name, names)
            self._check_confidence(where, policy.ladder or ())
        budgets = [where for where, policy in policies.items() if policy.rule == "budget"]
        if len(budgets) > 1:
            raise reference_error(budgets[1], f"{budgets[0]} is a budget, too; a pool keeps one")
        return self

    def _check_confidence(self, where: str, ladder: Sequence[str]) -> None:
        """All but the last of a cascade must tell how sure they are."""
        for candidate in self.candidates:
            if candidate.name in ladder[:-1] and "logprobs" not in self.capabilities(candidate):
                message = f"{candidate.name} gives no log-probabilities, so that nobody knows how sure it is"
                raise reference_error(f"{where}.ladder", message)


def _check(field: str, name: str | None, known: Collection[str]) -> None:
    if name is not None and name not in known:
        message = f"there is no {name!r} in this pool (it has {', '.join(known)})"
        raise reference_error(field, message, name, known)
