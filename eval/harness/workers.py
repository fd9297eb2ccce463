"""Trials side by side: each in a process of its own that maps the activations instead of copying them."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from eval.harness.contestants import MIXTURES, make_forecaster
from eval.harness.sample import Sample
from eval.harness.trial import Split, Trial, forecast_trial, mixture_trial
from probes.errors import BackendError

LARGE = 2000
"""Queries from which on processes are worth their start."""


@dataclass(frozen=True)
class Task:
    """One router on one split."""

    router: str
    split: Split
    seed: int


def sensible_jobs(queries: int) -> int:
    """As many processes as there are cores, one for a small set."""
    return len(os.sched_getaffinity(0)) if queries >= LARGE else 1


def perform(sample: Sample, task: Task) -> Trial:
    """Fit, calibrate, sweep and freeze one router on one split."""
    if task.router in MIXTURES:
        return mixture_trial(sample, task.split, corners=task.router == "hull")
    return forecast_trial(sample, task.split, make_forecaster(task.router, task.seed, sample.slices))


def perform_all(sample: Sample, tasks: Sequence[Task], jobs: int) -> Iterator[Trial]:
    """The tasks' trials in their order, `jobs` at a time; in this process where that is one.

    Raises
    ------
    BackendError
        A process was ended from outside, as by the kernel when memory runs out.
    """
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        yield from (perform(sample, task) for task in tasks)
        return
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    # A forked child would inherit the locks of threads that it does not have.
    fresh = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        activations = Path(folder) / "activations.npy"
        np.save(activations, sample.features, allow_pickle=False)
        work = _Work(replace(sample, features=sample.features[:0]), activations, tasks, threads)
        with ProcessPoolExecutor(jobs, fresh, initializer=_begin, initargs=(work,)) as pool:
            try:
                yield from pool.map(_perform, range(len(tasks)))
            except BrokenProcessPool:
                raise BackendError(
                    f"One of {jobs} processes of the comparison was ended from outside.",
                    hint="Memory may have run out: fewer at a time need less, as --jobs 1.",
                ) from None


@dataclass(frozen=True, eq=False)
class _Work:
    """What a process is given at its start; afterwards it is told numbers of tasks only.

    A queue of anything larger than a pipe holds would block for good once nobody is left to read it.
    """

    light: Sample
    activations: Path
    tasks: Sequence[Task]
    threads: int


_WORK: ContextVar[_Work] = ContextVar("work")


def _begin(work: _Work) -> None:
    _WORK.set(work)
    os.environ["OMP_NUM_THREADS"] = str(work.threads)  # read by torch when it is first needed
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent tells of the interruption


def _perform(number: int) -> Trial:
    from threadpoolctl import threadpool_limits

    work = _WORK.get()
    features = np.load(work.activations, mmap_mode="r", allow_pickle=False)
    with threadpool_limits(work.threads):
        return perform(replace(work.light, features=features), work.tasks[number])
