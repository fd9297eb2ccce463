"""Published routers: their recipes step by step, against references and known cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from eval.baselines.base import Features
from eval.baselines.published.factors import Factorisation, make_bilinear
from eval.baselines.published.irt import ItemResponse, fit_two_parameter
from eval.baselines.published.logistic import LogisticPath
from eval.baselines.published.recipe import ALPHAS, RecipeProbes
from eval.baselines.published.trunk import TrunkEnsemble
from eval.harness.contestants import make_forecaster
from eval.harness.sample import prepare
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats
from probes.encoders.encoder import Activations
from probes.metrics import auroc


def outcomes(correct: Floats) -> Outcomes:
    names = [f"m{k}" for k in range(correct.shape[1])]
    return Outcomes.build(Queries.build([f"q {i}" for i in range(len(correct))]), names, correct)


def sliced(n: int, slices: int, width: int, seed: int) -> tuple[Features, Floats]:
    """Features of which only the last slice knows anything, and the logit that it knows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, slices, width)).astype(np.float32)
    return x.reshape(n, -1), 2.0 * x[:, -1, 0].astype(np.float64)


def test_the_recipe_is_the_papers_step_by_step() -> None:
    features, logit = sliced(300, 3, 5, 0)
    y = (np.random.default_rng(1).random(300) < expit(logit)).astype(float)
    probe = RecipeProbes(slices=3).fit(outcomes(y[:, None]), features).probes_[0]
    order = np.random.RandomState(42).permutation(300)
    train, val = order[:240], order[240:]
    best, chosen = (-1.0, 0, 0.0), LogisticRegression()
    for place in range(3):
        x = features.reshape(300, 3, 5)[:, place]
        for alpha in ALPHAS:
            model = LogisticRegression(C=1 / alpha, fit_intercept=False, max_iter=1000)
            model.fit(x[train], y[train])
            score = roc_auc_score(y[val], model.decision_function(x[val]))
            if score > best[0]:
                best, chosen = (score, place, alpha), model
    assert probe is not None
    assert probe.platt is not None
    assert (probe.slice, probe.alpha) == best[1:]
    assert probe.score == pytest.approx(best[0], abs=1e-12)
    np.testing.assert_allclose(probe.weights, chosen.coef_[0], rtol=1e-3, atol=1e-4)
    x = features.reshape(300, 3, 5)[val, probe.slice]
    platt = LogisticRegression().fit(chosen.decision_function(x)[:, None], y[val])
    np.testing.assert_allclose(probe.platt, [platt.coef_[0, 0], platt.intercept_[0]], rtol=1e-2, atol=1e-3)


def test_the_recipe_reads_rates_with_ridge_and_leaves_them_raw() -> None:
    features, logit = sliced(300, 2, 5, 2)
    rate = np.random.default_rng(3).binomial(5, expit(logit)) / 5
    fitted = RecipeProbes(slices=2).fit(outcomes(rate[:, None]), features)
    probe = fitted.probes_[0]
    assert probe is not None
    assert probe.platt is None
    assert probe.slice == 1
    order = np.random.RandomState(42).permutation(300)
    x = features.reshape(300, 2, 5)[:, 1].astype(float)
    ridge = Ridge(probe.alpha, fit_intercept=False).fit(x[order[:240]], rate[order[:240]])
    expected = spearmanr(ridge.predict(x[order[240:]]), rate[order[240:]]).statistic
    assert probe.score == pytest.approx(expected, abs=1e-5)


def test_a_candidate_that_the_recipe_cannot_fit_gets_its_mean() -> None:
    features, _ = sliced(60, 1, 4, 4)
    table = np.column_stack([np.ones(60), np.full(60, np.nan), np.r_[0.0, 1.0, np.full(58, np.nan)]])
    success = RecipeProbes().fit(outcomes(table), features).predict(outcomes(table).queries, features)
    np.testing.assert_allclose(success[0], [0.995, 0.5, 0.5])


def test_two_parameter_items_are_recovered() -> None:
    rng = np.random.default_rng(0)
    level, slope = np.array([-1.0, 0.0, 0.5, 1.5, 0.2]), np.array([0.6, 1.0, 1.5, 2.0, 1.0])
    theta = rng.normal(size=6000)
    y = (rng.random((6000, 5)) < expit(level + theta[:, None] * slope)).astype(float)
    y[rng.random(y.shape) < 0.2] = np.nan
    found_level, found_slope, found_theta = fit_two_parameter(y, np.ones_like(y))
    np.testing.assert_allclose(found_level, level, atol=0.12)
    np.testing.assert_allclose(found_slope, slope, atol=0.2)
    assert np.corrcoef(found_theta, theta)[0, 1] > 0.6


def test_item_response_forecasts_the_average_over_what_it_cannot_see() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 3)).astype(np.float32)
    theta = 0.8 * x[:, 0] + 0.6 * rng.normal(size=4000)  # variance 1, of which .64 is to be seen
    level, slope = np.array([-0.5, 0.4, 1.0, 0.0]), np.array([1.0, 1.5, 1.0, 2.0])
    y = (rng.random((4000, 4)) < expit(level + theta[:, None] * slope)).astype(float)
    world = outcomes(y)
    success = ItemResponse().fit(world.take(np.arange(3000)), x[:3000]).predict(world.queries, x[3000:])
    hidden = rng.normal(size=(2000, 1, 1))
    logit = level + (0.8 * x[3000:, :1] + 0.6 * hidden) * slope
    truth = expit(logit).mean(axis=0)
    assert np.abs(success - truth).mean() < 0.05


def test_the_bilinear_score_is_routellms() -> None:
    import torch

    network = make_bilinear(4, 3)
    x = torch.randn(2, 4)
    for m in range(3):
        unit = network.candidates.weight[m] / network.candidates.weight[m].norm()
        expected = network.classify(unit * network.project(x))[:, 0]
        torch.testing.assert_close(network(x)[:, m], expected)


@pytest.mark.parametrize("make", [Factorisation, lambda: TrunkEnsemble(members=3, kept=2)])
def test_networks_find_what_stands_in_the_activations_and_repeat_themselves(make: type) -> None:
    features, logit = sliced(700, 1, 6, 5)
    rng = np.random.default_rng(6)
    y = (rng.random((700, 2)) < expit(logit[:, None] + np.array([0.0, 1.0]))).astype(float)
    y[rng.random(y.shape) < 0.1] = np.nan
    world = outcomes(y)
    train = world.take(np.arange(500))
    first, second = (make().fit(train, features[:500]).predict(world.queries, features[500:]) for _ in "ab")
    np.testing.assert_array_equal(first, second)
    seen = ~np.isnan(y[500:, 0])
    limit = auroc(logit[500:][seen], y[500:, 0][seen])
    assert auroc(first[seen, 0], y[500:, 0][seen]) > limit - 0.03
    assert abs(first[:, 1].mean() - np.nanmean(y[:, 1])) < 0.08


def test_of_the_ensemble_the_best_are_kept() -> None:
    features, logit = sliced(300, 1, 6, 7)
    world = outcomes((logit[:, None] > 0).astype(float))
    fitted = TrunkEnsemble(members=3, kept=1, epochs=5).fit(world, features)
    assert fitted.losses_ == sorted(fitted.losses_)
    assert len(fitted.networks_) == 1


def test_the_harness_tells_the_recipe_how_many_slices_there_are() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 2, 3, 4)).astype(np.float16)
    y = (rng.random((60, 2)) < 0.5).astype(float)
    sample = prepare(outcomes(y), Activations(values, np.ones(60, dtype=np.int64)))
    forecaster = make_forecaster("recipe", 0, sample.slices)
    assert isinstance(forecaster, RecipeProbes)
    assert forecaster.slices == 6


def test_candidates_solved_together_are_the_library_s_solved_alone() -> None:
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(400, 12)) * np.geomspace(0.01, 30, 12)).astype(np.float32)
    y = (rng.random((400, 3)) < expit(x[:, -3:] @ rng.normal(size=(3, 3)) / 10)).astype(float)
    seen = (rng.random(y.shape) < [1.0, 0.7, 0.3]).astype(float)
    y[seen == 0] = np.nan
    strengths = (1000.0, 10.0, 0.1)
    for alpha, weights in zip(strengths, LogisticPath(x, y, seen).weights(strengths), strict=True):
        for k in range(3):
            rows = seen[:, k] > 0
            model = LogisticRegression(C=1 / alpha, fit_intercept=False, solver="newton-cholesky", tol=1e-10)
            expected = model.fit(x[rows].astype(float), y[rows, k]).coef_[0]
            np.testing.assert_allclose(x @ weights[:, k], x @ expected, atol=2e-3)


def test_the_recipe_fits_each_candidate_as_if_it_were_alone() -> None:
    features, logit = sliced(300, 3, 5, 6)
    rng = np.random.default_rng(7)
    table = (rng.random((300, 3)) < expit(logit[:, None] * [1.0, 0.5, -1.0])).astype(float)
    table[:, 1] = rng.binomial(4, expit(logit)) / 4  # one of rates between two of right and wrong
    table[rng.random(table.shape) < 0.2] = np.nan
    together = RecipeProbes(slices=3).fit(outcomes(table), features).probes_
    for k, probe in enumerate(together):
        alone = RecipeProbes(slices=3).fit(outcomes(table[:, [k]]), features).probes_[0]
        assert probe is not None
        assert alone is not None
        assert (probe.slice, probe.alpha) == (alone.slice, alone.alpha)
        np.testing.assert_allclose(probe.weights, alone.weights, atol=1e-3)
