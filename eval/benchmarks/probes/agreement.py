"""Our metrics against those of the seed paper's code, scikit-learn and SciPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eval.benchmarks.row import Row, Setting
from eval.tables import Floats, find, read_csv
from probes.metrics import auroc, brier, log_loss, spearman


def rows(setting: Setting) -> Iterator[Row]:
    """Both agreements."""
    yield seed_row(setting)
    yield reference_row()


def seed_row(setting: Setting) -> Row:
    """AUROC and Spearman of the seed's own out-of-fold scores, which its code scored fold by fold."""
    what, reach = "metrics agree with the seed paper's, pika_math", "within .0011 for all 36 models"
    folder = setting.outcome_set("pika_math")
    path = None if folder is None else find(folder, "outcomes", (".csv.gz", ".csv"))
    if folder is None or path is None:
        return Row(what, reach, "unmeasured: needs the outcome set pika_math under --data", None)
    table = read_csv(path)
    names = np.array(table.text("model"))
    correct = table.numbers("correct", required=True)
    score = table.numbers("seed_probe_score", low=-np.inf, required=True)
    models = read_csv(folder / "models.csv")
    stored = models.numbers("seed_cv_score", low=-1.0, required=True)
    gaps = []
    for name, metric, value in zip(models.text("model"), models.text("metric"), stored, strict=True):
        measure = auroc if metric == "roc_auc" else spearman
        gaps.append(abs(measure(score[names == name], correct[names == name]) - float(value)))
    worst = max(gaps)
    return Row(what, reach, f"largest difference {worst:.4f} over {len(gaps)} models", worst <= 0.0011)


def reference_row() -> Row:
    """Against the libraries, on scores with ties and rates between 0 and 1."""
    from scipy.stats import spearmanr
    from sklearn.metrics import brier_score_loss, roc_auc_score
    from sklearn.metrics import log_loss as sklearn_log_loss

    rng, gaps = np.random.default_rng(0), []
    for digits in (1, 2, 8):
        score: Floats = np.clip(rng.random(5000).round(digits), 1e-6, 1 - 1e-6)
        label = (rng.random(5000) < score).astype(float)
        rate = rng.integers(0, 6, 5000) / 5
        twice = np.r_[np.ones(5000), np.zeros(5000)]
        gaps += [
            auroc(score, label) - roc_auc_score(label, score),
            auroc(score, rate)
            - roc_auc_score(twice, np.r_[score, score], sample_weight=np.r_[rate, 1 - rate]),
            spearman(score, rate) - spearmanr(score, rate).statistic,
            brier(score, label) - brier_score_loss(label, score),
            log_loss(score, label) - sklearn_log_loss(label, score),
        ]
    worst = float(np.abs(gaps).max())
    return Row("metrics agree with scikit-learn and SciPy", "to 1e-12", f"{worst:.0e}", worst <= 1e-12)
