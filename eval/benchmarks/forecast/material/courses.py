"""Training runs as forecasts see them: numbers at every checkpoint, accuracy where a model was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eval.benchmarks.forecast.curves import SHARE
from eval.benchmarks.forecast.material.answers import accuracy
from eval.benchmarks.forecast.material.models import Series
from eval.benchmarks.forecast.material.readings import read
from eval.benchmarks.row import Setting
from eval.ladder.sizes import DRILLED
from eval.tables import Floats


@dataclass(frozen=True, eq=False)
class Course:
    """One run from the end of its drills on.

    Attributes
    ----------
    shares
        Of its training on questions [T], in (0, 1], the last 1.
    proxies
        [T, 80]: mean over all tasks.
    text_nats
        [T]: cross-entropy on training text.
    size
        Parameters of the model and tokens of the whole run.
    accuracy
        [T]: mean over all tasks; NaN where nobody let the model answer.
    """

    shares: Floats
    proxies: Floats
    text_nats: Floats
    size: tuple[float, float]
    accuracy: Floats

    @property
    def end(self) -> float:
        """Accuracy at the end."""
        return float(self.accuracy[-1])

    @property
    def early(self) -> npt.NDArray[np.bool_]:
        """Which checkpoints [T] belong to the first eighteenth."""
        return np.asarray(self.shares <= SHARE)

    @property
    def asked(self) -> npt.NDArray[np.bool_]:
        """Checkpoints [T] of which the accuracy is known."""
        return ~np.isnan(self.accuracy)


def follow(run: Series, setting: Setting, *, asked: Sequence[float] = (1.0,)) -> Course:
    """Read every checkpoint of a run, and let it answer at the shares of training in `asked`."""
    folders = {share: folder for share, folder in run.folders.items() if share > DRILLED}
    found = [read(folder, setting) for folder in folders.values()]
    rates = [accuracy(folder, setting) if share in asked else np.nan for share, folder in folders.items()]
    return Course(
        (np.array(list(folders)) - DRILLED) / (1 - DRILLED),
        np.array([one.mean for one in found]),
        np.array([one.text_nats for one in found]),
        (run.parameters, run.tokens),
        np.array(rates),
    )
