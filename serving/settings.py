"""What an operator may set about the gateway itself (the pool file says everything about the candidates)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from probes.errors import ConfigError
from router.configuration.complaints import config_error, reference_error

EnvironmentVariable = r"^[A-Za-z_][A-Za-z0-9_]*$"
LEDGER_FILE = "foresight-ledger.db"
FILES_FOLDER = "foresight-files"


class ServeSettings(BaseModel):
    """Base of what stands below `serve:` in a pool file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class LedgerSettings(ServeSettings):
    """Where decisions and outcomes are kept, and for how long."""

    url: str = LEDGER_FILE
    """The path of a SQLite file, relative to the pool file, or ``postgresql://host/name``."""
    url_env: str | None = Field(default=None, pattern=EnvironmentVariable)
    """Environment variable that holds the URL instead, for one with a password."""
    keep_days: float = Field(default=90.0, gt=0)
    """Older decisions are removed, with all that belongs to them."""
    prompts: bool = False
    """Keep the prompts, too: only then can the ledger be exported as an outcome set."""
    flush_s: float = Field(default=0.05, gt=0, le=5)
    """How long a row may wait in memory; what a killed process can lose."""
    refresh_s: float = Field(default=15.0, gt=0)
    """How often a day's budget takes in what other gateways of the same ledger have spent."""
    queue: int = Field(default=20_000, ge=1)
    """Rows that may wait while the database is away; more are dropped and counted."""

    def place(self) -> str:
        """The URL; `ConfigError` where its environment variable is not set."""
        if self.url_env is None:
            return self.url
        if not (place := os.environ.get(self.url_env)):
            message = f"The environment variable {self.url_env} is not set."
            raise ConfigError(message, param="serve.ledger.url_env", hint="It holds the ledger's URL.")
        return place


class KeySettings(ServeSettings):
    """Whose requests are answered; without this section, everybody's."""

    file: Path | None = None
    """Key file as ``foresight keys`` writes it, relative to the pool file; read again when it changes."""
    env: str | None = Field(default=None, pattern=EnvironmentVariable)
    """Environment variable that holds what would stand in a key file."""
    protect_metrics: bool = False
    """Whether ``/metrics`` needs an operator's key."""
    protect_dashboard: bool = True
    """Whether ``/dashboard`` needs an operator's key."""
    refresh_s: float = Field(default=15.0, gt=0)
    """How often the key file, and what other gateways have spent, are looked at again."""

    @model_validator(mode="after")
    def _some_place(self) -> KeySettings:
        if (self.file is None) == (self.env is None):
            raise reference_error("file", "give either file or env, the place of the keys")
        return self


class FileSettings(ServeSettings):
    """The endpoints `/v1/files` and `/v1/batches`."""

    folder: Path = Path(FILES_FOLDER)
    """Where they are kept, relative to the pool file; of gateways that share it, one runs the batches."""
    max_file_bytes: int = Field(default=2 << 30, ge=1)
    """Largest file; larger ones are a 413."""
    parallel: int = Field(default=2, ge=1)
    """Batches that run at the same time."""
    concurrency: int = Field(default=16, ge=1)
    """Lines of one batch in flight at each backend."""
    poll_s: float = Field(default=1.0, gt=0)
    """How often the folder is looked at for new batches and for those to be cancelled."""


class TracingSettings(ServeSettings):
    """OpenTelemetry traces; what is left out here is said by OpenTelemetry's environment variables."""

    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """URL that spans are posted to (OTLP over HTTP); None: `OTEL_EXPORTER_OTLP_ENDPOINT` and its likes, else
    `http://localhost:4318/v1/traces`."""
    prompts: bool = False
    """Put the prompts into the spans, too."""


class GatewaySettings(ServeSettings):
    """Limits and timeouts of one gateway process; all times are in seconds."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    scout_mode: Literal["engine", "dedicated", "local", "none"] | None = None
    """Where prompts are read (see `router.configuration.settings.Scout`), or nowhere: every query then
    goes to the safe candidate. None: as the pool says."""
    scout_batch: int = Field(default=16, ge=1)
    """Most queries that the local scout encodes at once."""
    scout_window_s: float = Field(default=0.001, ge=0)
    """How long the local scout waits for company once it holds one query."""
    scout_timeout_s: float = Field(default=2.0, gt=0)
    """A query that has no activations by then goes to the safe candidate."""
    connect_timeout_s: float = Field(default=3.0, gt=0)
    """Time to reach a backend before the next candidate is tried."""
    first_byte_timeout_s: float = Field(default=120.0, gt=0)
    """Time for a backend's first event (streams) or whole answer before the next candidate is tried."""
    idle_timeout_s: float = Field(default=60.0, gt=0)
    """Longest silence inside a stream that has begun."""
    request_timeout_s: float = Field(default=600.0, gt=0)
    """Longest life of one request, all attempts together."""
    max_attempts: int = Field(default=3, ge=1)
    """Candidates that one request may try in one round."""
    retries: int = Field(default=1, ge=0)
    """Further rounds through the ranking when nobody answered but somebody soon may; 0 gives up at once."""
    retry_first_s: float = Field(default=0.1, ge=0)
    """Longest wait before the second round; it doubles from round to round, and each is drawn at random."""
    retry_max_s: float = Field(default=1.0, ge=0)
    """Longest wait between rounds; a backend that asks for more (`Retry-After`) is not waited for."""
    hedge_after_s: float | None = Field(default=None, gt=0)
    """Silence after which the next candidate is asked as well, and the first to begin wins; None: never."""
    breaker_failures: int = Field(default=5, ge=1)
    """Failures in a row after which a backend is left alone."""
    breaker_rest_s: float = Field(default=1.0, gt=0)
    """For how long, before a single query probes it; doubles with each probe that fails."""
    breaker_max_rest_s: float = Field(default=30.0, gt=0)
    """Longest time for which a backend is left alone, also where it asks for it (`Retry-After`)."""
    load_poll_s: float = Field(default=1.0, ge=0)
    """How often vLLM servers are asked for their queues, for policies that price time; 0: never."""
    max_in_flight: int = Field(default=4096, ge=1)
    """Requests at once, streams included; further ones are a 503 with `Retry-After`."""
    max_held_bytes: int = Field(default=256 << 20, ge=1024)
    """Bytes of request bodies at once, over all requests; beyond it, a 503 as well."""
    max_body_bytes: int = Field(default=8 << 20, ge=1024)
    """Largest request body; larger ones are a 413."""
    body_timeout_s: float = Field(default=30.0, gt=0)
    """Time for a request body to arrive; slower ones are a 408."""
    max_answer_bytes: int = Field(default=32 << 20, ge=1024)
    """Largest answer that is taken from a backend; a stream that grows beyond ends with an error event."""
    drain_s: float = Field(default=30.0, ge=0)
    """On SIGTERM, how long requests in flight may still run."""
    ledger: LedgerSettings | None = None
    """Where decisions and outcomes are kept; None: nowhere."""
    keys: KeySettings | None = None
    """Whose requests are answered; None: everybody's."""
    files: FileSettings | None = None
    """Files and batches; None: their endpoints are not there."""
    tracing: TracingSettings | None = None
    """OpenTelemetry traces; None: nothing of them is loaded."""
    folder: Path = Field(default_factory=Path.cwd)
    """Where relative paths of the sections above begin."""

    def with_ledger(self, place: str | None) -> GatewaySettings:
        """With the ledger at another place, relative to the working directory, or without one."""
        if place is None:
            return self.model_copy(update={"ledger": None})
        url = place if "://" in place else str(Path.cwd() / place)
        kept = self.ledger or LedgerSettings()
        return self.model_copy(update={"ledger": kept.model_copy(update={"url": url, "url_env": None})})

    @classmethod
    def of_section(cls, section: dict[str, Any], folder: Path, source: str = "pool") -> GatewaySettings:
        """What a pool file says below `serve:`.

        Without a word about them, ledger and files are kept in the working directory; ``ledger: null`` and
        ``files: null`` keep none.

        Parameters
        ----------
        section
            The file's own words.
        folder
            The pool file's folder.
        source
            The pool file, for messages.

        Raises
        ------
        ConfigError
            Naming the field, its value and the likely fix.
        """
        default = {
            "ledger": {"url": str(Path.cwd() / LEDGER_FILE)},
            "files": {"folder": str(Path.cwd() / FILES_FOLDER)},
        }
        try:
            return cls.model_validate({**default, **section, "folder": folder})
        except ValidationError as error:
            raise config_error(cls, error, f"{source}: serve") from error
