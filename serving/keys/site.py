"""Whose page made a browser ask: this gateway's own, another's, or none at all."""

from __future__ import annotations

from typing import Literal, cast, get_args
from urllib.parse import urlsplit

from starlette.types import Scope

Site = Literal["none", "same-origin", "same-site", "cross-site"]
"""As in `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/); ``none``: a program, or a typed address."""


def site(scope: Scope) -> Site:
    """Where a request comes from, by headers that no page can set.

    Browsers send `Sec-Fetch-Site` to https and to their own machine only; elsewhere `Origin` tells, which
    comes with all that changes anything. Behind a proxy `X-Forwarded-Host` may be what the browser knows.
    """
    found = {name: value.decode("latin-1").strip().lower() for name, value in scope["headers"]}
    said = found.get(b"sec-fetch-site")
    if said is not None:
        return cast("Site", said) if said in get_args(Site) else "cross-site"
    origin = found.get(b"origin")
    if origin is None:
        return "none"
    place = origin.partition("://")[2]  # "null" has none
    asked = {found[name] for name in (b"host", b"x-forwarded-host") if name in found}
    if place and place in asked:
        return "same-origin"
    hostname = _hostname(place)
    return "same-site" if hostname and hostname in map(_hostname, asked) else "cross-site"


def _hostname(place: str) -> str:
    """Of a host with or without a port; empty where it cannot be read."""
    try:
        return urlsplit(f"//{place}").hostname or ""
    except ValueError:
        return ""
