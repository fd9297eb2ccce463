"""The report of mmlu_pro as a page and as pictures, under ``reports/`` of the work folder."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks.policies.scored import complete
from eval.benchmarks.row import Row, Setting
from eval.harness import evaluate
from eval.report import write_report
from eval.report.picture import write_pictures
from probes.errors import MissingExtraError

COMMAND = "foresight bench policies --data DATA"


def rows(setting: Setting) -> Iterator[Row]:
    """One row: what the report says at its top."""
    what, reach = "report of mmlu_pro, all quick routers", "page and pictures written"
    found = next((part for part in complete(setting) if part[0] == "mmlu_pro"), None)
    if found is None or setting.quick:
        yield Row(what, reach, "unmeasured: needs mmlu_pro and no --quick", None)
        return
    _, outcomes, read, _ = found
    result = evaluate(outcomes, scout=read, scout_name="all-MiniLM-L6-v2, last three layers")
    folder = setting.work / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report-mmlu-pro.html"
    write_report(result, page, command=COMMAND)
    try:
        write_pictures(page, page.with_suffix(".png"))
    except MissingExtraError as error:
        yield Row(what, reach, f"{page} written, no pictures: {error.message}", None)
        return
    router = result.routers.get(result.default)
    words = result.default if router is None else f"{result.default} at {router.cost_ratio:.2f} of the cost"
    yield Row(what, reach, f"{page} and its pictures; recommended: {words}", True)
