"""The project's measured claims: each benchmark yields rows of what came out against what should."""

from __future__ import annotations
