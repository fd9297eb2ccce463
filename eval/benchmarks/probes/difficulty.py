"""Whose difficulty the activations hold, on MATH levels and on the ladder's own scale."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eval.benchmarks.probes.sets import LADDER_HINT, load, read_ladder, read_minilm
from eval.benchmarks.row import Row, Setting
from eval.difficulty import WhoseDifficulty, whose_difficulty

REACH = "reported: how well either is read out, and how they go together"


def rows(setting: Setting) -> Iterator[Row]:
    """People's levels of MATH problems, and the generator's difficulty of ladder questions."""
    what = "whose difficulty, pika_math (MATH level), MiniLM scout"
    outcomes = load(setting, "pika_math")
    activations = None if outcomes is None else read_minilm(setting, outcomes)
    if outcomes is None or activations is None:
        needed = "unmeasured: needs pika_math under --data and the extra text-scout"
        yield Row(what, REACH, needed, None)
    else:
        yield Row(what, REACH, told(whose_difficulty(outcomes, activations, "level")), None)
    what = "whose difficulty, ladder (generator's difficulty)"
    outcomes = load(setting, "ladder")
    if outcomes is None:
        yield Row(what, REACH, LADDER_HINT, None)
        return
    found = whose_difficulty(outcomes, read_ladder(setting, outcomes), "difficulty")
    yield Row(what, REACH, told(found), None)


def told(found: WhoseDifficulty) -> str:
    """The analysis in a line."""
    own = [one.own for one in found.candidates]
    areas = np.mean([[one.auroc, one.human_auroc] for one in found.candidates], axis=0)
    words = [
        f"Spearman: {found.column} {found.human:.3f} (within strata {found.human_within:.3f})",
        f"own success {np.mean(own):.3f} on average (from {min(own):.3f} to {max(own):.3f}, "
        f"{len(own)} candidates)",
        f"AUROC of own probes {areas[0]:.3f}, of the probe for {found.column} {areas[1]:.3f}",
        f"{found.column} with success {np.mean([one.human_correlation for one in found.candidates]):+.3f}, "
        f"the two read-outs {np.mean([one.readout_correlation for one in found.candidates]):+.3f}",
    ]
    words += [
        f"{pair.think} against direct: own {pair.own:+.3f}, with {found.column} {pair.human_correlation:+.3f}"
        for pair in found.thinking
    ]
    return "; ".join(words)
