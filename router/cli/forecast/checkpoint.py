"""``foresight forecast checkpoint``: a probe on one checkpoint foretells the later ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from probes.errors import DataError
from router.cli.forecast.options import Device, Json, Think, named
from router.cli.output import out, progress, say, write_json

if TYPE_CHECKING:
    from eval.outcomes import Outcomes

EXAMPLE = "Example: foresight forecast checkpoint early=run/step-500 late=run/step-900 --prompts graded/"


def checkpoint(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="NAME=FOLDER, earliest first; the first is graded."),
    ],
    prompts: Annotated[
        Path, typer.Option(help="Outcome set: answers of the first model, and a canary of the others.")
    ],
    think: Think = False,
    device: Device = "cpu",
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    as_json: Json = False,
) -> None:
    """Fit a probe to the first checkpoint's graded answers and apply it, frozen, to the later ones."""
    from eval.outcomes import Outcomes
    from probes.forecast.checkpoint.states import read_folder
    from probes.forecast.checkpoint.transfer import fit_probe

    chosen = [named(model) for model in models]
    graded = Outcomes.load(prompts)
    kwargs = {"enable_thinking": True} if think else None
    rows: list[dict[str, Any]] = []
    probe = None
    for name, folder in chosen:
        with progress(f"Reading {name}") as told:
            states = read_folder(
                folder, graded.conversations, template_kwargs=kwargs, device=device, progress=told
            )
        if probe is None:
            correct, trials = _column(graded, name)
            probe = fit_probe(states, correct, trials=trials, groups=graded.groups, seed=seed)
            success = probe.predict(states)
            known = correct == correct
            success[known] = probe.out_of_fold
        else:
            success = probe.predict_later(states)
        rows.append(_forecast_row(graded, name, success))
    rungs = probe.rungs if probe is not None else ()
    ladder = [{"probe": r.name, "loss": r.loss, "auroc": r.auroc} for r in rungs]
    if as_json:
        write_json({"probe": probe.chosen if probe else None, "ladder": ladder, "models": rows})
        return
    table = Table("model", "accuracy", "95% interval", "graded", "AUROC", title="Forecast of the whole set")
    for row in rows:
        area = "" if row["auroc"] is None else f"{row['auroc']:.3f}"
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        table.add_row(row["model"], f"{row['accuracy']:.3f}", interval, str(row["graded"]), area)
    out().print(table)
    say(
        f"Probe: {probe.chosen if probe else ''}. "
        "Use a level with: foresight add ROUTER NAME --level ACCURACY"
    )


def _column(graded: Outcomes, name: str) -> tuple[Any, Any]:
    if name not in graded.candidates:
        raise DataError(
            f"The outcome set has no answers of {name!r} (it has {', '.join(graded.candidates)}).",
            param="prompts",
            hint="Name the model as the outcome set does: NAME=FOLDER.",
        )
    place = graded.candidates.index(name)
    return graded.correct[:, place], graded.samples[:, place]


def _forecast_row(graded: Outcomes, name: str, success: Any) -> dict[str, Any]:
    """A checkpoint's set accuracy, corrected by its graded answers if it has any."""
    import numpy as np

    from probes.forecast.checkpoint.powered import set_accuracy, unaided_accuracy
    from probes.metrics import auroc

    seen, correct = np.empty(0, dtype=np.intp), np.empty(0)
    if name in graded.candidates:
        column = graded.correct[:, graded.candidates.index(name)]
        seen = np.flatnonzero(~np.isnan(column))
        correct = column[seen]
    found = set_accuracy(success, seen, correct) if len(seen) >= 2 else unaided_accuracy(success)
    area = auroc(success[seen], correct) if len(seen) else float("nan")
    return {
        "model": name,
        "accuracy": found.value,
        "low": found.low,
        "high": found.high,
        "mean_forecast": float(success.mean()),
        "graded": len(seen),
        "auroc": None if area != area else area,
    }
