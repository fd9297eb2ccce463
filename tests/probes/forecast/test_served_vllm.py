"""Solutions read by a real vLLM server, against transformers and the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from probes.forecast.rank.proxies import PROXIES
from probes.forecast.rank.served import ServedTeacher
from probes.forecast.rank.solutions import Solution
from probes.forecast.rank.teacher import Teacher
from serving.vllm.process import VllmServer

EXACT = [i for i, name in enumerate(PROXIES) if "entropy" not in name]
TEXTS = ("twelve is five more than seven", "the quick brown fox", "five", "one two three four five six seven")


@pytest.mark.vllm
@pytest.mark.timeout(300)
def test_a_vllm_server_tells_of_solutions_what_its_folder_tells(
    vllm_server: VllmServer, tiny_llama: Path
) -> None:
    solutions = [
        Solution([{"role": "user", "content": f"question {i}"}], text, "all") for i, text in enumerate(TEXTS)
    ]
    served = ServedTeacher(vllm_server.url, model="tiny").score(solutions)
    own = Teacher(tiny_llama, dtype="float32").score(solutions)
    np.testing.assert_allclose(served.values[:, EXACT], own.values[:, EXACT], rtol=2e-3, atol=2e-4)
    assert np.isnan(np.delete(served.values, EXACT, axis=1)).all()
