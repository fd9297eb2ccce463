"""What lives as long as the gateway is left out of the collector's rounds; what comes later is not."""

from __future__ import annotations

import gc
import weakref

from serving.memory import YOUNG, keep_for_good


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.own = self


def test_what_lives_now_is_kept_and_later_cycles_are_collected() -> None:
    before = gc.get_threshold()
    try:
        keep_for_good()
        kept = gc.get_freeze_count()
        knot = weakref.ref(Knot())
        gc.collect()

        assert kept > 1000
        assert gc.get_threshold()[0] == YOUNG
        assert knot() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
