"""What a model folder makes of experts' solutions and of training text: read once, kept by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from eval.benchmarks.forecast.material.answers import MODES, Exam, kwargs
from eval.benchmarks.row import Setting
from eval.ladder.questions import FAMILIES, stream
from eval.ladder.questions.drills import drills
from eval.ladder.sequences import target_text
from eval.tables import Floats, write_atomically
from probes.forecast.rank.proxies import PROXIES
from probes.forecast.rank.solutions import Solution
from probes.forecast.rank.teacher import Teacher

TASKS = tuple(f"{family}/{mode}" for mode in MODES for family in FAMILIES)
"""A family and a mode each."""
EACH = 15
"""Solutions of each task."""
CROSS_ENTROPY = PROXIES.index("nll/uniform")
_TEXT_SEED = 101
_N_TEXT = 400
_TEXT = "text"


@dataclass(frozen=True, eq=False)
class Reading:
    """One model's numbers.

    Attributes
    ----------
    proxies : dict of str to ndarray of shape (80,)
        Mean proxies of each task, a family and a mode.
    text_nats : float
        Cross-entropy in nats a token on training text as it comes, whatever the task: drills, direct answers
        and worked solutions of all families.
    """

    proxies: Mapping[str, Floats]
    text_nats: float

    @property
    def mean(self) -> Floats:
        """Proxies over all tasks [80]."""
        return np.asarray(np.mean(list(self.proxies.values()), axis=0))


def read(folder: Path, setting: Setting) -> Reading:
    """One teacher-forced pass over `EACH` solutions a task and over training text."""
    material = (*_exam().solutions(), *_text())
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes())
    digest.update(json.dumps([[one.text, one.task] for one in material]).encode())
    path = setting.work / "forecast" / "readings" / f"{digest.hexdigest()[:32]}.json"
    if not path.is_file():
        found = Teacher(folder).score(material).by_task()
        path.parent.mkdir(parents=True, exist_ok=True)
        ready = json.dumps({name: values.tolist() for name, values in found.items()})
        write_atomically(path, lambda handle: handle.writelines([ready]))
    table = {name: np.array(values) for name, values in json.loads(path.read_text()).items()}
    return Reading(
        {name: values for name, values in table.items() if name != _TEXT}, float(table[_TEXT][CROSS_ENTROPY])
    )


@cache
def _exam() -> Exam:
    return Exam.draw(EACH)


@cache
def _text() -> tuple[Solution, ...]:
    """Training text as the ladder's runs see it, in sequences that no exam holds."""
    questions, drilled = stream(_TEXT_SEED, "train"), drills(_TEXT_SEED)
    asked = [*islice(questions, _N_TEXT), *islice(drilled, _N_TEXT // 20)]
    return tuple(
        Solution(
            [{"role": "user", "content": question.prompt}],
            target_text(question, MODES[i % 2] == "think"),
            _TEXT,
            kwargs(MODES[i % 2]),
        )
        for i, question in enumerate(asked)
    )
