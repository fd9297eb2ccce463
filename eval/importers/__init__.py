"""Other people's graded answers as outcome sets: one module a format, read as a stream."""

from __future__ import annotations

from eval.importers.answer import Answer, Options, Source
from eval.importers.assembly import assemble
from eval.importers.kinds import KINDS, import_answers

__all__ = ["KINDS", "Answer", "Options", "Source", "assemble", "import_answers"]
