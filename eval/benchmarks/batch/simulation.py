"""What a job on a thousand GPUs would do: a queueing model fed with measured rates.

Each GPU is a server with some slots that share its throughput: with b lines in flight it makes
``rate · b / (b + half)`` lines a second (a saturation curve: two numbers to measure on one GPU). The
driver reads and sends lines at a rate of its own, and keeps every GPU's slots filled. Failures are
memoryless; a lost line is asked again. The answer is makespan and how busy the GPUs are: it is a model and
no measurement, and says nothing about networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.benchmarks.batch.driver import driver_rate
from eval.benchmarks.row import Row, Setting

STEP = 0.05
"""A step in units of a line's time at a full GPU."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Cluster:
    """What is known of the machines.

    Attributes
    ----------
    gpus : int
        Servers.
    slots : int
        Lines in flight at each.
    full_rate : float
        Lines a second of one GPU with endless lines in flight.
    half : float
        Lines in flight at which a GPU makes half of that.
    driver_rate : float
        Lines a second that one driver reads, journals and sends.
    drivers : int
        Drivers, each with its part of the file.
    mtbf_h : float
        Mean hours between failures of one GPU.
    restart_s : float
        Seconds until a failed GPU is back.
    """

    gpus: int
    slots: int = 64
    full_rate: float = 8.0
    half: float = 24.0
    driver_rate: float = 1500.0
    drivers: int = 1
    mtbf_h: float = 2000.0
    restart_s: float = 300.0


@dataclass(frozen=True)
class Forecast:
    """A job's makespan in seconds, the share of the time that GPUs are full, and lines asked again."""

    makespan_s: float
    busy: float
    repeated: int


def simulate(cluster: Cluster, lines: int, seed: int = 0) -> Forecast:
    """Run the model, in steps that are short beside the job and beside a line's time at a GPU.

    Raises
    ------
    ValueError
        Nothing can be done: no line, or no machine.
    """
    if lines < 1 or cluster.gpus < 1 or cluster.slots < 1:
        raise ValueError("lines, gpus and slots must be at least 1.")
    rng = np.random.default_rng(seed)
    peak = full_rate_of(cluster)
    step_s = min(lines / (cluster.gpus * peak) / 2000, STEP * cluster.slots / peak)
    flying, down_s = np.zeros(cluster.gpus), np.zeros(cluster.gpus)
    left, done, clock_s, worked, repeated = float(lines), 0.0, 0.0, 0.0, 0.0
    while done < lines - 0.5:
        up = down_s <= 0
        sent = _refill(flying, up, cluster, min(left, cluster.driver_rate * cluster.drivers * step_s))
        left -= sent
        rate = np.where(up, cluster.full_rate * flying / (flying + cluster.half), 0.0)
        finished = np.minimum(rate * step_s, flying)
        flying -= finished
        done += float(finished.sum())
        worked += float(rate.sum()) / peak
        failed = up & (rng.random(cluster.gpus) < step_s / (3600 * cluster.mtbf_h))
        lost = float(flying[failed].sum())
        left, repeated = left + lost, repeated + lost
        flying[failed], down_s[failed] = 0.0, cluster.restart_s
        down_s -= step_s
        clock_s += step_s
        if left <= 0 and flying.sum() < 0.5:
            break
    return Forecast(clock_s, worked * step_s / (cluster.gpus * clock_s), round(repeated))


def _refill(flying: Floats, up: Any, cluster: Cluster, can_send: float) -> float:
    """Fill the slots as far as the driver keeps up, all GPUs alike; how many lines were sent."""
    room = np.where(up, cluster.slots - flying, 0.0)
    wanted = float(room.sum())
    if wanted <= 0 or can_send <= 0:
        return 0.0
    share = min(1.0, can_send / wanted)
    flying += room * share
    return wanted * share


def rows(setting: Setting) -> Iterator[Row]:
    """The measured rate of a driver, and with it forecasts of large jobs, with one driver and with enough."""
    rate = driver_rate(setting)
    yield Row(
        "one driver: lines planned, sent and journalled for a second of its processor time",
        "a rate for the simulation",
        f"{rate:.0f}",
        None,
    )
    for gpus, lines in ((8, 100_000), (1000, 1_000_000 if setting.quick else 10_000_000)):
        peak = gpus * full_rate_of(Cluster(gpus))
        for drivers in sorted({1, math.ceil(1.1 * peak / rate)}):
            found = simulate(Cluster(gpus, driver_rate=rate, drivers=drivers), lines)
            yield Row(
                f"simulation: {lines:,} lines, {gpus} GPUs, {drivers} drivers"
                " (the driver's rate as measured, a GPU's assumed)",
                "a forecast",
                f"{found.makespan_s / 60:.1f} min, GPUs {found.busy:.0%} busy, {found.repeated} repeated",
                None,
            )


def full_rate_of(cluster: Cluster) -> float:
    """Lines a second of one GPU whose slots are full."""
    return cluster.full_rate * cluster.slots / (cluster.slots + cluster.half)
