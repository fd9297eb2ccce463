"""The harness: cross-validated comparison of routers and baselines on any outcome set.

>>> from eval.harness import evaluate
>>> from eval.outcomes import Outcomes
>>> result = evaluate(Outcomes.load("outcomes/"))     # doctest: +SKIP
>>> print(result.to_json()["routers"]["tfidf"]["cost_ratio"])     # doctest: +SKIP
"""

from eval.harness.evaluate import evaluate
from eval.harness.result import EvaluationResult, RouterResult

__all__ = ["EvaluationResult", "RouterResult", "evaluate"]
