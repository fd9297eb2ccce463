"""``foresight fit``: from graded outcomes to a router."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from probes.errors import DataError
from router.cli.output import money, out, progress, say, write_json
from router.fit.knob import DROP

if TYPE_CHECKING:
    from eval.outcomes import Outcomes
    from probes.encoders.cache import RenderingEncoder
    from probes.encoders.encoder import Activations
    from router.configuration.pool import Pool
    from router.fit.report import FitReport, Point, Routed

EXAMPLE = "Example: foresight fit pool.yaml outcomes/ -o router/"


def fit(
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="The pool file.")],
    outcomes: Annotated[Path, typer.Argument(metavar="OUTCOMES", help="Folder of an outcome set.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the router is written.")
    ],
    scout: Annotated[
        str | None, typer.Option(help="A transformers folder, minilm, or ladder-s|m|l; default: the pool's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the splits.")] = 0,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="Accuracy that may be given up against the best single one.")
    ] = DROP,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps activations between runs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Fit probes, calibrate, set the policy's knob, and judge the router on unseen questions."""
    from eval.outcomes import Outcomes
    from probes.scoring.reference import Reference
    from router.configuration.pool import Pool
    from router.fit.fitting import fit_router
    from router.fit.slices import Narrowed
    from router.scout import open_scout, with_scout

    loaded = with_scout(Pool.load(pool), scout)
    graded = _of_pool(Outcomes.load(outcomes), loaded, outcomes)
    encoder = open_scout(loaded.scout)
    activations = _read(encoder, graded, cache)
    with progress("Fitting") as told:
        router, report = fit_router(
            loaded,
            activations,
            graded.correct,
            graded.samples,
            graded.output_tokens,
            graded.input_tokens,
            graded.groups,
            graded.datasets,
            cost_usd=graded.cost_usd,
            identity=encoder.identity,
            seed=seed,
            drop=tolerance,
            progress=told,
        )
    router.record["reference"] = Reference.read(Narrowed(encoder, router.identity)).to_dict()
    router.save(output)
    if as_json:
        write_json({"router": str(output), **report.to_dict()})
    else:
        draw(report)
        say(f"Wrote {output}. Next: foresight serve {pool} --router {output}")


def _of_pool(outcomes: Outcomes, pool: Pool, folder: Path) -> Outcomes:
    """The pool's candidates of an outcome set, in the pool's order."""
    absent = [name for name in pool.names if name not in outcomes.candidates]
    if absent:
        raise DataError(
            f"{folder} has no outcomes of {absent[0]!r} (it has {', '.join(outcomes.candidates)}).",
            param="model",
            hint="Run foresight collect for the whole pool, or take the candidate out of the pool file.",
        )
    return outcomes.select(pool.names)


def _read(encoder: RenderingEncoder, outcomes: Outcomes, cache: Path | None) -> Activations:
    with progress("Reading prompts") as told:
        if cache is None:
            return encoder.encode(outcomes.conversations, progress=told)
        from probes.encoders.cache import ActivationCache

        return ActivationCache(cache).encode(encoder, outcomes.conversations, progress=told)


def draw(report: FitReport) -> None:
    """The report as tables on stdout."""
    for table in (_probes(report), _routing(report)):
        for column in table.columns[1:]:
            column.justify = "right"
        out().print(table)


def _probes(report: FitReport) -> Table:
    heads = ("candidate", "accuracy", "AUROC", "within datasets", "ECE", "Brier", "base rate's")
    table = Table(*heads, title="Probes", title_justify="left")
    for name, row in report.candidates.items():
        numbers = (row.auroc, row.auroc_within, row.ece, row.brier, row.brier_base)
        table.add_row(name, f"{row.accuracy:.1%}", *(f"{number:.3f}" for number in numbers))
    return table


def _routing(report: FitReport) -> Table:
    title = f"Routing, on {report.queries['test']} unseen questions"
    table = Table("", "accuracy", "cost of 1,000", "saved (95%)", title=title, title_justify="left")

    def add(label: str, point: Point | Routed, saved: str = "", style: str = "") -> None:
        table.add_row(label, f"{point.accuracy:.1%}", money(1000 * point.cost_usd), saved, style=style)

    for name, point in report.singles.items():
        roles = [role for role in ("cheapest", "best") if getattr(report, role) == name]
        add(f"{name} ({', '.join(roles)})" if roles else name, point)
    add("oracle", report.oracle, style="dim")
    table.add_section()
    for rule, routed in report.routed.items():
        low, high = routed.saving_ci
        saved = f"{1 - routed.cost_ratio:.0%} ({low:.0%} to {high:.0%})"
        note = " does not pay" if routed.static else ", the pool's rule fitted" if rule == report.rule else ""
        add(f"{rule} {routed.knob:.3g}{note}", routed, saved, style="dim" if routed.static else "bold")
    return table
