"""An API key: a name, a secret that only its owner has, and limits.

A secret is 256 random bits, so that one round of SHA-256 hides it as well as any slow hash would: there is
nothing to guess. What is stored is the hash alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

from pydantic import Field, model_validator

from router.configuration.complaints import reference_error
from router.configuration.settings import Settings

_TOKEN = re.compile(r"fsk_([A-Za-z0-9][A-Za-z0-9.-]{0,47})_[0-9a-f]{64}")
_NOBODYS = "0" * 64


class Key(Settings):
    """One key as it stands in a key file; a limit that is left out is none."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,47}$")
    """Whose it is; in the ledger, and never secret."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of the whole key."""
    operator: bool = False
    """Whether it opens /dashboard and /metrics, where they need a key."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Requests that may come in the long run."""
    burst: int | None = Field(default=None, ge=1)
    """Requests that may come at once; None: those of ten seconds, and at least one."""
    max_parallel: int | None = Field(default=None, ge=1)
    """Requests that may be answered at the same time, streams included."""
    usd_per_day: float | None = Field(default=None, ge=0)
    """Most that its answers may cost in a day (UTC)."""
    usd_per_month: float | None = Field(default=None, ge=0)
    """Most that its answers may cost in a calendar month (UTC)."""
    candidates: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Who may answer it; None: everybody."""
    max_body_bytes: int | None = Field(default=None, ge=1)
    """Largest request body; the gateway's own limit holds as well."""

    @property
    def has_budget(self) -> bool:
        """Whether money limits it."""
        return self.usd_per_day is not None or self.usd_per_month is not None


class KeyRing(Settings):
    """All keys: the content of a key file."""

    keys: tuple[Key, ...] = ()
    """In the order of the file."""

    @model_validator(mode="after")
    def _unique(self) -> KeyRing:
        names = [key.id for key in self.keys]
        for k, name in enumerate(names):
            if name in names[:k]:
                raise reference_error(f"keys[{k}].id", f"two keys are called {name!r}")
        return self

    def with_key(self, key: Key) -> KeyRing:
        """With one more."""
        return KeyRing(keys=(*self.keys, key))

    def without(self, key_id: str) -> KeyRing:
        """Without this one."""
        return KeyRing(keys=tuple(key for key in self.keys if key.id != key_id))

    def get(self, key_id: str) -> Key | None:
        """By its name."""
        return next((key for key in self.keys if key.id == key_id), None)

    @property
    def has_budgets(self) -> bool:
        """Whether money limits any of them."""
        return any(key.has_budget for key in self.keys)


class Lock:
    """Tells whose key was presented, in a time that does not hang on how nearly right it was."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys}

    def open(self, presented: str) -> Key | None:
        """The key that this text is; None if it is none."""
        named = _TOKEN.fullmatch(presented)
        key = self._keys.get(named[1]) if named else None
        expected = _NOBODYS if key is None else key.sha256
        right = hmac.compare_digest(hashed(presented), expected)
        return key if right else None


def new_secret(key_id: str) -> str:
    """A fresh key for its owner; it cannot be found out again from what is stored."""
    return f"fsk_{key_id}_{secrets.token_hex(32)}"


def hashed(secret: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
