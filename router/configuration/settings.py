"""The parts of a pool file: prices, decoding, backends, the scout and policies; frozen, typos forbidden."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from router.configuration.complaints import reference_error
from router.configuration.paths import ModelPath

Usd = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Capability = Literal["tools", "vision", "json_schema", "logprobs", "n"]


class Settings(BaseModel):
    """Base of everything that an operator writes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


class Price(Settings):
    """What a candidate's tokens cost."""

    usd_per_mtok_in: Usd
    """US dollars per million prompt tokens."""
    usd_per_mtok_out: Usd
    """US dollars per million generated tokens."""
    usd_per_mtok_cached: Usd | None = None
    """US dollars per million prompt tokens that the server still holds from an earlier turn; None: as any
    other. With it, leaving a candidate in the middle of a conversation has its price."""

    @property
    def cached(self) -> float:
        """US dollars per million prompt tokens from a prefix cache."""
        return self.usd_per_mtok_in if self.usd_per_mtok_cached is None else self.usd_per_mtok_cached

    def usd(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0) -> float:
        """What so many tokens cost; the cached ones are among the input."""
        read = (input_tokens - cached_tokens) * self.usd_per_mtok_in + cached_tokens * self.cached
        return (read + output_tokens * self.usd_per_mtok_out) / 1e6


class Latency(Settings):
    """How fast a candidate usually answers; only policies that price time read it."""

    first_token_s: float = Field(default=0.0, ge=0)
    """Seconds to the first token."""
    per_output_token_s: float = Field(default=0.0, ge=0)
    """Seconds per generated token."""


class Decoding(Settings):
    """Defaults of the request body; a field that the client sets itself wins."""

    temperature: float | None = Field(default=None, ge=0)
    """Sampling temperature; 0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus cut."""
    top_k: int | None = Field(default=None, ge=-1)
    """Top-k cut; 0 or -1 switch it off."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of an answer."""
    stop: str | list[str] | None = None
    """Strings that end an answer."""
    seed: int | None = None
    """Makes draws repeatable."""
    reasoning_effort: str | None = None
    """OpenAI's effort of reasoning models: low, medium, high."""
    chat_template_kwargs: dict[str, Any] | None = None
    """Options of the chat template, such as ``{enable_thinking: true}``."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Any further body fields, sent as they are."""

    def body(self) -> dict[str, Any]:
        """The defaults as body fields; unset ones are left out."""
        return self.model_dump(exclude={"extra"}, exclude_none=True) | self.extra


class VllmOptions(Settings):
    """How a vLLM server is started."""

    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt plus answer, in tokens; None: what the model was made for."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Requests answered at the same time; None: Foresight's default."""
    dtype: str | None = None
    """As vLLM's --dtype; None: float32 on a CPU, the checkpoint's own on a GPU."""
    cores: str | None = Field(default=None, pattern=r"^\d+(-\d+)?(,\d+(-\d+)?)*$")
    """CPU cores to compute on, as ``0`` or ``0-3``."""
    gpu_memory_fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the GPU's memory; several servers on one GPU must share it out."""
    args: tuple[str, ...] = ()
    """Further flags of ``vllm serve``."""
    env: dict[str, str] = Field(default_factory=dict)
    """Further environment variables of the server."""


class VllmBackend(VllmOptions):
    """A vLLM server that the gateway starts and stops."""

    kind: Literal["vllm"]
    """Fixed."""
    model_path: ModelPath
    """A transformers folder relative to the pool file, a packaged name, or a hub's model id."""


class OpenAIBackend(Settings):
    """Any server that speaks OpenAI's protocol."""

    kind: Literal["openai"]
    """Fixed."""
    url: str = Field(pattern=r"^https?://[^\s/]")
    """Base URL, usually ending in /v1."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the key; keys themselves never stand in a file."""


class LocalBackend(Settings):
    """A transformers model in the gateway's own process: for laptops and tests."""

    kind: Literal["local"]
    """Fixed."""
    model_path: ModelPath
    """A transformers folder relative to the pool file, or a packaged name."""


Backend = Annotated[VllmBackend | OpenAIBackend | LocalBackend, Field(discriminator="kind")]


class Scout(Settings):
    """The one open model whose prefill is read."""

    model: ModelPath
    """A transformers folder relative to the pool file, or a packaged name (ladder-s|m|l, minilm)."""
    layers: tuple[int, ...] | Literal["auto"] | None = None
    """Layers to read; None: every block. Where several are named, or auto, fitting chooses among them."""
    positions: tuple[str, ...] | Literal["auto"] = ("last",)
    """Prompt positions to read; auto: those that suit the model. Of several, fitting chooses."""
    kind: Literal["residual", "value"] = "residual"
    """Residual stream, or attention value vectors."""
    template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Options of the scout's chat template."""
    price_usd_per_mtok: Usd = 0.0
    """What the scout's prefill costs per million prompt tokens; charged to every query."""
    mode: Literal["engine", "dedicated", "local"] = "local"
    """Where the gateway reads: inside the vLLM server of the scout's own model, in a vLLM server that only
    encodes, or in the gateway's process."""
    fallback: Literal["local", "none"] = "local"
    """Who reads what an engine cannot read: the gateway's process, or nobody (the safe candidate answers)."""
    server: VllmOptions = VllmOptions()
    """mode dedicated: how its server is started."""
    safe_candidate: str | None = None
    """Answers when the router cannot tell; None: the best single candidate of the calibration split."""


Rule = Literal[
    "fitted",
    "cheapest-likely",
    "tolerance",
    "utility",
    "quality-floor",
    "budget",
    "cascade",
    "fixed",
    "random",
]
FITTED: Rule = "fitted"
"""Stands for the rule that was cheapest when the router was fitted."""
KNOBS: dict[str, tuple[str, ...]] = {
    FITTED: (),
    "cheapest-likely": ("min_success",),
    "tolerance": ("tolerance",),
    "utility": ("value_usd", "latency_usd_per_s"),
    "quality-floor": ("slack", "candidate"),
    "budget": ("budget_usd", "expected_queries", "first_usd_per_answer"),
    "cascade": ("ladder", "accept"),
    "fixed": ("candidate",),
    "random": ("weights", "seed"),
}
"""Which fields of `PolicySettings` belong to which rule."""
_NEEDED = (
    ("candidate", "fixed", "the name of a candidate"),
    ("ladder", "cascade", "at least two candidates, the cheapest first"),
    ("budget_usd", "budget", "US dollars a day"),
    ("expected_queries", "budget", "the number of queries that a day brings"),
)


class PolicySettings(Settings):
    """How to choose; a knob that is left out is set by ``foresight fit``."""

    rule: Rule = "cheapest-likely"
    """The kind of policy; fitted: what ``foresight fit`` found to be the cheapest that keeps the accuracy."""
    min_success: Share | None = None
    """cheapest-likely: least success probability."""
    tolerance: Share | None = None
    """tolerance: how far below the most likely candidate the chosen one may be, in probability."""
    value_usd: Usd | None = None
    """utility: what one right answer is worth."""
    latency_usd_per_s: Usd | None = None
    """utility: what a second of waiting costs."""
    slack: float | None = Field(default=None, ge=-1, le=1)
    """quality-floor: how far below the reference's success a cheaper candidate may be; negative: above it."""
    candidate: str | None = None
    """fixed: who always answers; quality-floor: the reference."""
    budget_usd: float | None = Field(default=None, gt=0)
    """budget: US dollars a day (UTC)."""
    expected_queries: int | None = Field(default=None, ge=1)
    """budget: queries in a day; corrected by the traffic."""
    first_usd_per_answer: float | None = Field(default=None, gt=0)
    """budget: what a right answer may cost to begin with; None: what fitting found, or one cent."""
    ladder: tuple[str, ...] | None = Field(default=None, min_length=2)
    """cascade: who is asked, one after another, until an answer is sure enough; the cheapest first."""
    accept: Share | None = None
    """cascade: least confidence at which an answer is kept, on the scale of `Cascade.accept`."""
    weights: dict[str, Usd] | None = None
    """random: share of each candidate; the others get none.  None: equal shares."""
    seed: int | None = None
    """random: makes the choices repeatable."""
    explore: Share | None = None
    """Any rule: share of queries that chance decides, so that the log can judge policies never used."""

    @property
    def knobs(self) -> dict[str, Any]:
        """The knobs that are set, by name."""
        return self.model_dump(exclude={"rule", "explore"}, exclude_none=True)

    @model_validator(mode="after")
    def _own_knobs_only(self) -> PolicySettings:
        foreign = sorted(set(self.knobs) - set(KNOBS[self.rule]))
        if foreign:
            own = " and ".join(KNOBS[self.rule]) or "none"
            raise reference_error(foreign[0], f"this is no knob of {self.rule}, which has {own}")
        for field, rule, what in _NEEDED:
            if self.rule == rule and getattr(self, field) is None:
                raise reference_error(field, f"the rule {rule} needs {what}")
        if self.ladder is not None and len(set(self.ladder)) < len(self.ladder):
            raise reference_error("ladder", f"somebody is named twice in {', '.join(self.ladder)}")
        if self.explore and self.rule in {"cascade", "budget"}:
            raise reference_error("explore", f"the rule {self.rule} cannot explore")
        return self
