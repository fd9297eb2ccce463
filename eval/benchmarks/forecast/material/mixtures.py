"""Small models that differ in what they were taught: what forecasts have to tell apart.

``python -m eval.benchmarks.forecast.material.mixtures FOLDER [MIXTURE ...]`` trains those that are not there.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from eval.benchmarks.forecast.material.models import Series, parameters
from eval.benchmarks.row import Setting
from eval.ladder.questions import FAMILIES, stream
from eval.ladder.questions.drills import drills
from eval.ladder.sequences import ROW_TOKENS, Batch, collate, drill_share, pack, rows
from eval.ladder.sizes import CHECKPOINT_SHARES, SIZES, Size
from eval.ladder.train import checkpoint_folder, train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MOST_PACKED, _LEAST_PACKED, _TOKENS_EACH = 256, 8, 7_000
"""Questions packed together: one for so many tokens of the run; then even a short one passes its drills."""
_NUMBERS = ("addition", "subtraction", "multiplication", "counting", "maximum", "story", "variables")
_LOOKING = ("sorting", "selection", "order", "swaps", "rule", "lookup", "maximum")
_TIME = ("dates", "weekdays", "clock", "addition", "subtraction")


@dataclass(frozen=True)
class Mixture:
    """What a small model is taught.

    Attributes
    ----------
    families : tuple of str
        In turn; a family that stands twice is taught twice as often.
    think : float
        Share of questions answered with the expert's solution, the others are answered at once.
    easiest : float
        Only questions up to this difficulty, in (0, 1].
    """

    families: tuple[str, ...]
    think: float = 0.5
    easiest: float = 1.0


_ALL = tuple(FAMILIES)


def _without(some: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in _ALL if name not in some)


MIXTURES: dict[str, Mixture] = {
    "even": Mixture(_ALL),
    "direct": Mixture(_ALL, think=0.05),
    "worked": Mixture(_ALL, think=0.95),
    "easy": Mixture(_ALL, easiest=0.4),
    "numbers": Mixture(_ALL + 3 * _NUMBERS),
    "time": Mixture(_ALL + 5 * _TIME),
    "only-looking": Mixture(_LOOKING),
    "only-numbers": Mixture(_NUMBERS),
    "looking": Mixture(_ALL + 3 * _LOOKING),
    "only-time": Mixture(_TIME),
    "without-numbers": Mixture(_without(_NUMBERS)),
    "without-looking": Mixture(_without(_LOOKING)),
    "without-time": Mixture(_without(_TIME)),
    "direct-numbers": Mixture(_ALL + 3 * _NUMBERS, think=0.05),
    "worked-looking": Mixture(_ALL + 3 * _LOOKING, think=0.95),
    "easy-time": Mixture(_ALL + 5 * _TIME, easiest=0.4),
}
"""Every mixture by name."""

TARGET = replace(SIZES["ladder-s"], name="long", tokens=16_000_000, batch_tokens=2_304)
"""The runs that are forecast: the smallest rung, two sevenths as long."""

SHORT = replace(TARGET, name="short", tokens=2_000_000)
"""The same model hardly trained."""
SHORT_MIXTURES = tuple(MIXTURES)[:8]
"""Those that are trained so, too."""

TWINS = ("even", "direct", "worked")
"""Mixtures trained again with seed 1: how far apart luck alone puts two runs."""

SMALL = Size("hundredth", 16, 1, 1, 1, 32, 980_000, 768, 8e-3, 8e-3)
"""A hundredth of their compute: a sixth of the parameters, a sixteenth of the tokens."""

TINY = replace(SMALL, name="thousandth", tokens=98_000, batch_tokens=384)
"""A thousandth of their compute."""

UNLIKE = (
    Size("narrow", 32, 2, 1, 1, 64, 24_000_000, 2_304, 8e-3, 4e-3),
    Size("brief", 48, 2, 2, 1, 96, 8_000_000, 2_304, 8e-3, 4e-3),
    Size("wide", 64, 3, 2, 1, 160, 16_000_000, 2_304, 7e-3, 4e-3),
    Size("large-brief", 96, 4, 4, 2, 224, 4_000_000, 2_304, 6e-3, 4e-3),
    Size("lasting", 48, 2, 2, 1, 96, 32_000_000, 2_304, 8e-3, 4e-3),
    Size("wide-brief", 64, 3, 2, 1, 160, 8_000_000, 2_304, 7e-3, 4e-3),
    Size("large", 96, 4, 4, 2, 224, 8_000_000, 2_304, 6e-3, 4e-3),
)
"""Sizes and lengths of runs that are as unlike each other as minutes of training allow."""
_EACH = 3
VARIED = tuple(zip(islice(cycle(MIXTURES), _EACH * len(UNLIKE)), _EACH * UNLIKE, strict=True))
"""Mixture and size of each such run; every mixture stands once or twice."""


def batches(
    size: Size, seed: int, tokenizer: PreTrainedTokenizerFast, *, mixture: Mixture
) -> Iterator[Batch]:
    """A run's training, as `eval.ladder.sequences.batches`, of the mixture's questions."""
    rng = random.Random(seed)
    questions, drilled = stream(seed, "train", mixture.families), drills(seed)
    wanted = (question for question in questions if question.difficulty <= mixture.easiest)
    seen, height = 0, size.batch_tokens // ROW_TOKENS
    together = min(_MOST_PACKED, max(_LEAST_PACKED, size.tokens // _TOKENS_EACH))
    while True:
        share = drill_share(seen / size.tokens)
        kinds = [rng.random() < share for _ in range(together)]
        drawn = [next(drilled) if drill else next(wanted) for drill in kinds]
        packed = pack(rows(drawn, [not drill and rng.random() < mixture.think for drill in kinds], tokenizer))
        rng.shuffle(packed)
        for start in range(0, len(packed) - height + 1, height):
            yield collate(packed[start : start + height])
            seen += height * ROW_TOKENS


def run_of(folder: Path, mixture: str, size: Size, *, seed: int = 0) -> Series:
    """Where the run of a mixture, size and seed stands."""
    name = f"{mixture}-{size.name}-{seed}" if seed else f"{mixture}-{size.name}"
    folders = {share: checkpoint_folder(folder, name, share) for share in CHECKPOINT_SHARES[:-1]}
    return Series(name, {**folders, 1.0: folder / name}, size.tokens, parameters(size))


def train_missing(
    folder: Path, size: Size, *, seed: int = 0, names: Sequence[str] = tuple(MIXTURES)
) -> list[Series]:
    """Mixtures of a size; those that are not there yet are trained now."""
    runs = [run_of(folder, name, size, seed=seed) for name in names]
    for run, name in zip(runs, names, strict=True):
        if not (folder / run.name / "training.json").is_file():
            source = partial(batches, mixture=MIXTURES[name])
            train(replace(size, name=run.name), folder, seed=seed, source=source, shares=CHECKPOINT_SHARES)
    return runs


def mixture_runs(
    setting: Setting, size: Size = TARGET, *, names: Sequence[str] = tuple(MIXTURES), seed: int = 0
) -> list[Series]:
    """The runs of a size under --work, trained where they are not there yet: minutes each."""
    return train_missing(setting.work / "forecast" / "mixtures", size, names=names, seed=seed)


def varied_runs(setting: Setting) -> list[Series]:
    """The runs that differ in mixture, size and length, trained where they are not there yet."""
    return [run for name, size in VARIED for run in mixture_runs(setting, size, names=[name])]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    chosen = sys.argv[2:] or list(MIXTURES)
    for one in (TINY, SMALL, TARGET):
        train_missing(target, one, names=chosen)
    train_missing(target, SHORT, names=[name for name in chosen if name in SHORT_MIXTURES])
    train_missing(target, TARGET, seed=1, names=[name for name in chosen if name in TWINS])
    for name, one in VARIED:
        train_missing(target, one, names=[name] if name in chosen else [])
