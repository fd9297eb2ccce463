"""Pool files: what they say, and how their mistakes are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probes.errors import ConfigError, UsageError
from router.configuration.paths import packaged_folder, portable_model, resolve_model
from router.configuration.pool import Pool
from tests.router.pools import make_pool, pool_data, write_pool


def test_a_pool_file_is_read_with_paths_relative_to_it(tmp_path: Path) -> None:
    pool = Pool.load(write_pool(tmp_path, pool_data() | {"router": "fitted"}))

    assert pool.names == ("s", "m", "m:think")
    assert pool.scout.model == str(tmp_path / "scout")
    assert pool.router == tmp_path / "fitted"
    assert pool["m:think"].decoding.body() == {
        "temperature": 0.6,
        "chat_template_kwargs": {"enable_thinking": True},
    }
    assert pool.prices.tolist() == [[1.0, 2.0], [10.0, 20.0], [10.0, 20.0]]


def test_two_candidates_may_share_model_and_backend() -> None:
    pool = make_pool()

    assert pool["m"].model == pool["m:think"].model
    assert pool["m"].backend == pool["m:think"].backend


def test_capabilities_default_to_those_of_the_backends_kind() -> None:
    pool = make_pool()

    assert pool.capabilities(pool["s"]) == {"n"}
    assert pool.capabilities(pool["m"]) == {"tools", "n"}
    assert pool.capabilities(pool["m:think"]) == {"json_schema", "logprobs", "n"}


def test_a_snapshot_moves_with_its_folder(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    pool = Pool.parse(pool_data(), folder=old)
    snapshot = pool.snapshot(old / "router")

    assert snapshot["scout"]["model"] == "../scout"
    assert Pool.parse(snapshot, folder=old / "router") == pool
    assert Pool.parse(snapshot, folder=new / "router").scout.model == str(new / "scout")


def edit(*path: Any, **values: Any) -> Callable[[dict[str, Any]], None]:
    """A change of the pool data at a place."""

    def change(data: Any) -> None:
        for part in path:
            data = data[part]
        data.update(values)

    return change


@pytest.mark.parametrize(
    ("change", "param", "words", "hint"),
    [
        pytest.param(
            edit("candidates", 0, "price", usd_per_mtok_ni=3),
            "candidates[0].price.usd_per_mtok_ni",
            "no such field (its value is 3)",
            "Did you mean usd_per_mtok_in?",
            id="typo in a nested field",
        ),
        pytest.param(edit(polcy={}), "polcy", "no such field", "Did you mean policy?", id="typo at the top"),
        pytest.param(
            edit("backends", "far", api_key="sk-1"),
            "backends.far.api_key",
            "no such field",
            "Did you mean api_key_env?",
            id="a key in the file",
        ),
        pytest.param(
            edit("backends", "far", kind="opnai"),
            "backends.far.kind",
            "'opnai' is not known",
            "Did you mean openai?",
            id="kind of a backend",
        ),
        pytest.param(
            edit("candidates", 1, backend="fra"),
            "candidates[1].backend",
            "there is no 'fra' in this pool (it has near, far)",
            "Did you mean far?",
            id="unknown backend",
        ),
        pytest.param(
            edit("scout", safe_candidate="m:thnk"),
            "scout.safe_candidate",
            "there is no 'm:thnk'",
            "Did you mean m:think?",
            id="unknown safe candidate",
        ),
        pytest.param(
            edit(policy={"rule": "cheapest-likly"}),
            "policy.rule",
            "'cheapest-likly' is not known",
            "Did you mean cheapest-likely?",
            id="unknown rule",
        ),
        pytest.param(
            edit("policies", "careful", min_success=0.5),
            "policies.careful.min_success",
            "no knob of tolerance",
            None,
            id="knob of another rule",
        ),
        pytest.param(
            edit(policy={"rule": "fixed", "candidate": "x"}),
            "policy.candidate",
            "there is no 'x'",
            None,
            id="fixed",
        ),
        pytest.param(
            edit(policy={"rule": "cascade"}), "policy.ladder", "needs at least two", None, id="no ladder"
        ),
        pytest.param(
            edit(policy={"rule": "cascade", "ladder": ["m:think", "m:thnk"]}),
            "policy.ladder",
            "there is no 'm:thnk'",
            "Did you mean m:think?",
            id="unknown on the ladder",
        ),
        pytest.param(
            edit(policy={"rule": "cascade", "ladder": ["s", "m"]}),
            "policy.ladder",
            "s gives no log-probabilities",
            None,
            id="who does not say how sure it is",
        ),
        pytest.param(
            edit(policy={"rule": "budget", "budget_usd": 3}),
            "policy.expected_queries",
            "needs the number of queries",
            None,
            id="a budget for who knows how many",
        ),
        pytest.param(
            edit(
                policy={"rule": "budget", "budget_usd": 3, "expected_queries": 9},
                policies={"second": {"rule": "budget", "budget_usd": 3, "expected_queries": 9}},
            ),
            "policies.second",
            "policy is a budget, too",
            None,
            id="two budgets",
        ),
        pytest.param(
            edit(policy={"rule": "budget", "budget_usd": 3, "expected_queries": 9, "explore": 0.1}),
            "policy.explore",
            "cannot explore",
            None,
            id="a budget that explores",
        ),
        pytest.param(edit(policy={"min_success": 1.5}), "policy.min_success", "not 1.5", None, id="range"),
        pytest.param(
            edit("candidates", 0, name="m"), "candidates[1].name", "two candidates", None, id="twice"
        ),
        pytest.param(
            edit("candidates", 0, name="auto"), "candidates[0].name", "router itself", None, id="auto"
        ),
        pytest.param(edit("candidates", 0, name="a b"), "candidates[0].name", "'a b'", None, id="bad name"),
        pytest.param(
            edit("candidates", 0, context_tokens="long"),
            "candidates[0].context_tokens",
            "'long'",
            None,
            id="type",
        ),
        pytest.param(
            edit("candidates", 0, "price", usd_per_mtok_in=-1),
            "candidates[0].price.usd_per_mtok_in",
            "not -1",
            None,
            id="negative price",
        ),
        pytest.param(edit(candidates=[]), "candidates", "at least 1", None, id="no candidates"),
    ],
)
def test_a_mistake_names_the_field_the_value_and_the_fix(
    tmp_path: Path, change: Callable[[Any], None], param: str, words: str, hint: str | None
) -> None:
    data = pool_data()
    change(data)
    path = write_pool(tmp_path, data)
    with pytest.raises(ConfigError) as caught:
        Pool.load(path)

    assert caught.value.param == param
    assert caught.value.message.startswith(f"{path}: {param}: ")
    assert words in caught.value.message
    assert caught.value.hint == hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("candidates: [", "line 1, column 14", id="no YAML"),
        pytest.param("scout: {}\nscout: {}", "line 2, column 1: 'scout' stands here twice", id="key twice"),
        pytest.param("hello", "holds no settings", id="no mapping"),
        pytest.param("", "holds no settings", id="empty"),
        pytest.param("\tcandidates: 1", "line 1, column 1", id="tab"),
    ],
)
def test_a_file_that_is_no_yaml_names_the_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=r"pool\.yaml") as caught:
        Pool.load(path)
    assert words in caught.value.message


def test_a_missing_file_and_a_missing_model_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no file"):
        Pool.load(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        Pool.load(tmp_path)
    path = write_pool(tmp_path, pool_data() | {"scout": {"model": "elsewhere"}})
    with pytest.raises(ConfigError, match=r"scout.model: no model in .*elsewhere") as caught:
        Pool.load(path)
    assert caught.value.param == "scout.model"


def test_an_unknown_candidate_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="no candidate 'm:thinks'") as caught:
        make_pool()["m:thinks"]

    assert caught.value.hint == "Did you mean m:think?"


def test_models_are_found_by_packaged_name_path_or_id(tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)

    assert resolve_model("ladder-s", tmp_path) == str(packaged_folder("ladder-s"))
    assert resolve_model("own/model", tmp_path) == str(tmp_path / "own" / "model")
    assert resolve_model("Qwen/Qwen3-8B", tmp_path) == "Qwen/Qwen3-8B"
    assert resolve_model("./own/none", tmp_path) == str(tmp_path / "own" / "none")
    for model in ("ladder-s", "own/model", "Qwen/Qwen3-8B", "/somewhere/else", "plain"):
        assert resolve_model(
            portable_model(resolve_model(model, tmp_path), tmp_path), tmp_path
        ) == resolve_model(model, tmp_path)
