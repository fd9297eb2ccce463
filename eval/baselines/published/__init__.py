"""Forecasters of published routers, as their papers or their code describe them."""

from __future__ import annotations
