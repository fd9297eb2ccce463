"""Keys, buckets and budgets by themselves, under clocks that the tests turn."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.errors import ConfigError
from serving.clock import Clock
from serving.http.errors import ApiError
from serving.keys.bucket import Bucket
from serving.keys.budget import Spending, begin_of, end_of
from serving.keys.file import parse_keys, read_keys, write_keys
from serving.keys.guard import Guard
from serving.keys.key import Key, KeyRing, Lock, hashed, new_secret
from serving.settings import KeySettings
from tests.serving.ledger.rows import query

NOON = datetime(2026, 2, 28, 12, tzinfo=UTC).timestamp()


HASH = "ab" * 32


def key(name: str = "team", secret: str | None = None, **limits: object) -> Key:
    return Key.model_validate({"id": name, "sha256": hashed(secret or new_secret(name)), **limits})


class TestSecrets:
    def test_only_the_hash_is_stored(self, tmp_path: Path) -> None:
        secret = new_secret("team")
        path = tmp_path / "keys.yaml"
        write_keys(path, KeyRing(keys=(key("team", secret, usd_per_day=5.0, candidates=["small"]),)))
        text = path.read_text()

        assert secret not in text
        assert secret.rpartition("_")[2] not in text
        assert hashlib.sha256(secret.encode()).hexdigest() in text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        (read,) = read_keys(path).keys
        assert (read.usd_per_day, read.candidates) == (5.0, ("small",))

    def test_two_secrets_of_a_name_are_never_the_same(self) -> None:
        assert len({new_secret("team") for _ in range(100)}) == 100

    @given(st.text(max_size=120))
    def test_no_other_text_opens(self, text: str) -> None:
        secret = "fsk_team_" + "ab" * 32
        lock = Lock([key("team", secret), key("other", "fsk_other_" + "cd" * 32)])
        found = lock.open(secret)
        assert found is not None
        assert found.id == "team"
        for wrong in (text, secret + text if text else "x", text + secret if text else "y"):
            assert lock.open(wrong) is None
        assert lock.open(secret.replace("team", "other")) is None

    @pytest.mark.parametrize(
        ("text", "field"),
        [
            ("keys: [{id: a, sha256: short}]", "keys[0].sha256"),
            ("keys: [{id: 'a b', sha256: " + HASH + "}]", "keys[0].id"),
            ("keys: [{id: a, sha256: " + HASH + ", usd_per_dya: 1}]", "usd_per_dya"),
            ("keys: [{id: a, sha256: " + HASH + "}, {id: a, sha256: " + HASH + "}]", "keys[1].id"),
            ("keys: [", ""),
            ("- a", ""),
        ],
    )
    def test_a_key_file_that_is_wrong_says_where(self, text: str, field: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_keys(text, "keys.yaml")
        assert "keys.yaml" in caught.value.message
        assert field in caught.value.message

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read"):
            read_keys(tmp_path / "nowhere.yaml")


class TestBuckets:
    @settings(deadline=None)
    @given(
        st.lists(st.floats(0, 30), min_size=1, max_size=60),
        st.floats(0.1, 20),
        st.integers(1, 10),
    )
    def test_never_more_than_rate_and_burst_allow(
        self, pauses: list[float], per_s: float, capacity: int
    ) -> None:
        allowed: list[float] = []
        bucket, now_s = Bucket(per_s, capacity, 0.0), 0.0
        for pause_s in pauses:
            now_s += pause_s
            wait_s = bucket.take(now_s)
            if wait_s == 0:
                allowed.append(now_s)
            else:
                assert 0 < wait_s <= 1 / per_s + 1e-9
        for i, begin_s in enumerate(allowed):  # in every stretch of time
            for j in range(i, len(allowed)):
                assert j - i + 1 <= capacity + (allowed[j] - begin_s) * per_s + 1e-6

    def test_waiting_as_told_is_enough(self) -> None:
        bucket = Bucket(2.0, 1, 0.0)
        assert bucket.take(0.0) == 0
        wait_s = bucket.take(0.1)
        assert wait_s == pytest.approx(0.4)
        assert bucket.take(0.1 + wait_s + 1e-9) == 0

    def test_a_clock_that_goes_back_gives_nothing_away(self) -> None:
        bucket = Bucket(1.0, 1, 100.0)
        assert bucket.take(100.0) == 0
        assert bucket.take(50.0) > 0
        assert bucket.take(100.5) > 0


class TestBudgets:
    def test_periods_are_calendar_days_and_months(self) -> None:
        assert begin_of("day", NOON) == datetime(2026, 2, 28, tzinfo=UTC).timestamp()
        assert end_of("day", NOON) == end_of("month", NOON) == datetime(2026, 3, 1, tzinfo=UTC).timestamp()
        assert begin_of("month", NOON) == datetime(2026, 2, 1, tzinfo=UTC).timestamp()
        december = datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp()
        assert end_of("month", december) == datetime(2027, 1, 1, tzinfo=UTC).timestamp()

    def test_a_budget_is_used_up_and_begins_anew(self) -> None:
        mine, spending = key(usd_per_day=1.0, usd_per_month=1.5), Spending(NOON)
        spending.add("team", 0.75, NOON)
        spending.add("other", 9.0, NOON)
        assert spending.exhausted(mine, NOON) is None
        spending.add("team", 0.25, NOON)
        assert spending.exhausted(mine, NOON) == "day"
        march = NOON + 86_400
        assert spending.exhausted(mine, march) is None  # the month is new as well
        spending.add("team", 0.9, march)
        spending.add("team", 0.7, march + 86_400)
        assert spending.exhausted(mine, march + 86_400) == "month"

    def test_what_other_gateways_spent_counts_once(self) -> None:
        spending = Spending(NOON)
        spending.add("team", 1.0, NOON)
        before = spending.snapshot("day", NOON)
        spending.add("team", 0.5, NOON)  # while the ledger is asked
        spending.reconcile("day", before, {"team": 3.0, "other": 2.0}, NOON)  # its 1.0 and another's 2.0

        assert spending.spent("day", "team", NOON) == 3.5
        assert spending.spent("day", "other", NOON) == 2.0

    def test_what_the_ledger_lost_is_not_forgotten(self) -> None:
        spending = Spending(NOON)
        spending.add("team", 1.0, NOON)
        spending.reconcile("day", spending.snapshot("day", NOON), {"team": 0.25}, NOON)
        assert spending.spent("day", "team", NOON) == 1.0


class TestGuards:
    def test_an_environment_variable_holds_keys_as_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        secret = new_secret("team")
        monkeypatch.setenv("SOME_KEYS", f'{{"keys": [{{"id": "team", "sha256": "{hashed(secret)}"}}]}}')
        guard = Guard(KeySettings(env="SOME_KEYS"), Path())

        assert guard.identify(secret, guard.need("/v1/models")).id == "team"
        monkeypatch.delenv("SOME_KEYS")
        with pytest.raises(ConfigError, match="SOME_KEYS is not set"):
            Guard(KeySettings(env="SOME_KEYS"), Path())

    def test_rates_are_told_with_the_time_to_wait(self, tmp_path: Path) -> None:
        now_s = [100.0]
        guard = self.guard(tmp_path, key(requests_per_minute=30, burst=2), steady=lambda: now_s[0])
        mine = guard.ring.keys[0]
        for _ in range(2):
            with guard.admitted(mine, "/v1/chat/completions"):
                pass
        with pytest.raises(ApiError) as caught, guard.admitted(mine, "/v1/chat/completions"):
            pass
        assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
        assert caught.value.headers["retry-after"] == "2"
        now_s[0] += 2
        with guard.admitted(mine, "/v1/chat/completions"):
            pass

    def test_parallel_requests_are_counted_until_they_end(self, tmp_path: Path) -> None:
        guard = self.guard(tmp_path, key(max_parallel=1))
        mine = guard.ring.keys[0]
        with guard.admitted(mine, "/v1/completions"):
            with pytest.raises(ApiError) as caught, guard.admitted(mine, "/v1/completions"):
                pass
            assert caught.value.code == "too_many_parallel_requests"
        with guard.admitted(mine, "/v1/completions"):
            pass

    def test_a_jump_of_the_clock_gives_no_new_budget(self, tmp_path: Path) -> None:
        wall, steady = [NOON], [0.0]
        clock = Clock(lambda: wall[0], lambda: steady[0])
        guard = self.guard(tmp_path, key(usd_per_day=1.0), clock=clock)
        guard.spending.add("team", 2.0, clock.now())
        wall[0] += 10 * 86_400
        with pytest.raises(ApiError) as caught, guard.admitted(guard.ring.keys[0], "/v1/chat/completions"):
            pass
        assert (caught.value.status, caught.value.code) == (429, "insufficient_quota")
        assert caught.value.headers["retry-after"] == str(12 * 3600)
        with guard.admitted(guard.ring.keys[0], "/v1/feedback"):
            pass
        steady[0] += 12 * 3600
        with guard.admitted(guard.ring.keys[0], "/v1/chat/completions"):
            pass

    def test_other_candidates_are_ruled_out(self, tmp_path: Path) -> None:
        guard = self.guard(tmp_path, key(candidates=["small", "elsewhere"]))
        mine, names = guard.ring.keys[0], ("small", "middle", "large")
        asked = guard.restrict(query(), mine, names)
        assert asked.preferences.exclude == ("middle", "large")
        assert asked.key_id == "team"
        for model, pool in (("large", names), ("auto", ("large",))):
            with pytest.raises(ApiError) as caught:
                guard.restrict(replace(query(), model=model), mine, pool)
            assert (caught.value.status, caught.value.code) == (403, "candidate_not_allowed")

    def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(self, tmp_path: Path) -> None:
        first, second = new_secret("team"), new_secret("team")
        guard = self.guard(tmp_path, key("team", first))
        need = guard.need("/v1/models")
        assert not guard.reread()
        write_keys(tmp_path / "keys.yaml", KeyRing(keys=(key("team", second),)))
        assert guard.reread()
        assert guard.identify(second, need).id == "team"
        with pytest.raises(ApiError):
            guard.identify(first, need)
        (tmp_path / "keys.yaml").write_text("keys: [")
        assert not guard.reread()
        assert guard.identify(second, need).id == "team"
        os.unlink(tmp_path / "keys.yaml")
        assert not guard.reread()
        assert guard.identify(second, need).id == "team"

    @staticmethod
    def guard(folder: Path, *keys: Key, **clocks: object) -> Guard:
        write_keys(folder / "keys.yaml", KeyRing(keys=keys))
        return Guard(KeySettings(file=Path("keys.yaml")), folder, **clocks)  # type: ignore[arg-type]
