"""One gateway process and one browser for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.serving.dashboard.stand import MISSING, REASON, chromium, gateway


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; tests that want it are skipped where there is none.

    Playwright's event loop runs in this thread for as long as it is open, so that no other module's
    asynchronous tests could.
    """
    if MISSING:
        pytest.skip(REASON)
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def ladder_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A `foresight serve` of its own process, whose answers, probabilities and ledger are real."""
    folder = tmp_path_factory.mktemp("dashboard")
    with gateway(folder, ledger={"url": str(folder / "ledger.db"), "prompts": True, "flush_s": 0.01}) as url:
        yield url
