"""What an engine must be told, what it must show, and what happens when it cannot be used."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from probes.encoders.encoder import Activations, ScoutIdentity
from probes.errors import ArtefactError, BackendError, ConfigError, UsageError
from probes.scoring.reference import Reference
from probes.scoring.scorer import Scorer
from router.configuration.settings import VllmOptions
from router.router import Router
from serving.assemble import scouting
from serving.engine.channel import Message
from serving.engine.reference import require_reference
from serving.engine.room import EngineRoom
from serving.flow.fallback import FallbackScout
from serving.settings import GatewaySettings
from tests.serving.engine.worlds import fitted, pool_of
from tests.serving.routing import WordEncoder

TALK = [{"role": "user", "content": "what is seven plus five"}]


@pytest.fixture(scope="module")
def router(tiny_llama: Path) -> Router:
    return fitted(pool_of(tiny_llama))[0]


@pytest.fixture
def room(router: Router) -> Any:
    room = EngineRoom.make(router.identity)
    yield room
    room.remove()
    room.remove()
    assert not room.folder.exists()


def test_the_room_is_closed_to_others(room: EngineRoom) -> None:
    assert stat.S_IMODE(room.folder.stat().st_mode) == 0o700
    path = Path(room.tell(VllmOptions(), "server").env["PYTHONPATH"])
    assert (path / "serving" / "engine" / "plugin" / "connector.py").is_file()
    assert [entry.name for entry in path.iterdir()] == ["serving"]


def test_the_engine_is_told_what_to_read(room: EngineRoom) -> None:
    flag, transfer = room.tell(VllmOptions(), "server").args
    told = json.loads(transfer)["kv_connector_extra_config"]
    assert flag == "--kv-transfer-config"
    assert told == {
        "folder": str(room.folder),
        "kind": "value",
        "layers": [1, 2, 3, 4],
        "positions": ["last"],
    }
    residual = EngineRoom(room.folder, replace(room.identity, kind="residual", layers=(2,)))
    *_, flag, value = residual.tell(VllmOptions(), "server").args
    config = json.loads(value)
    assert flag == "--speculative-config"
    assert config["draft_model_config"]["hf_config"] == {"eagle_aux_hidden_state_layer_ids": [2]}


def test_what_the_pool_sets_itself_is_kept_or_refused(room: EngineRoom) -> None:
    told = room.tell(VllmOptions(args=("--seed", "1"), env={"PYTHONPATH": "/own", "A": "b"}), "server")
    assert told.args[:2] == ("--seed", "1")
    assert told.env == {"PYTHONPATH": f"{room.folder}/path:/own", "A": "b"}
    for args in (("--kv-transfer-config", "{}"), ("--kv-transfer-config={}",)):
        with pytest.raises(ConfigError, match="needs for itself") as caught:
            room.tell(VllmOptions(args=args), "backends.own")
        assert caught.value.param == "backends.own.args"


def test_weights_in_force_change_at_once_and_whole(room: EngineRoom, router: Router) -> None:
    first = room.publish(router.scorer)
    probes = router.scorer.probes
    other = Scorer(
        replace(probes, level=probes.level + 1),
        router.scorer.calibrator,
        router.scorer.length,
        router.scorer.novelty,
    )
    second = room.publish(other)
    link = room.folder / "current"
    assert first != second == link.readlink().name
    arrays = load_file(link)
    np.testing.assert_array_equal(arrays["offset"], other.weights()["offset"])
    assert room.publish(router.scorer) == first == link.readlink().name


@pytest.mark.parametrize(
    "changed", [{"positions": ("mean",)}, {"layers": (0, 1), "kind": "residual"}], ids=["mean", "embeddings"]
)
def test_what_no_engine_can_read_is_refused(changed: dict[str, Any], router: Router) -> None:
    identity: ScoutIdentity = replace(router.identity, **changed)
    with pytest.raises(ConfigError, match="cannot read"):
        EngineRoom.make(identity)


def test_a_pool_without_the_scouts_server_is_refused(router: Router) -> None:
    scout = router.pool.scout.model_copy(update={"model": "/elsewhere"})
    pool = router.pool.model_copy(update={"scout": scout})
    with pytest.raises(ConfigError, match="No vLLM backend") as caught:
        scouting(pool, router, GatewaySettings(scout_mode="engine"), Path("/nowhere"))
    assert caught.value.hint


@pytest.mark.parametrize("mode", ["engine", "dedicated"])
def test_a_router_without_a_reference_is_refused(mode: Any, router: Router, tmp_path: Path) -> None:
    record = {name: value for name, value in router.record.items() if name != "reference"}
    bare = Router(router.pool, router.scorer, router.fitted, router.identity, record=record)
    with pytest.raises(ArtefactError, match="no reference prompt"):
        scouting(router.pool, bare, GatewaySettings(scout_mode=mode), tmp_path)


def message(reference: Reference, scorer: Scorer, **changed: Any) -> Message:
    projection = scorer.project(reference.features[None])
    scores = np.append(projection.values[0], projection.energy).astype(np.float32)
    right = Message(reference.n_tokens, "w", scores, reference.features)
    return replace(right, **changed)


def test_the_reference_prompt_tells_right_from_wrong(router: Router) -> None:
    reference = Reference.from_dict(json.loads(json.dumps(router.record["reference"])))
    scorer = router.scorer
    assert require_reference(reference, message(reference, scorer), scorer, "w") == 0
    rounding = 1 + 0.02 * np.random.default_rng(0).normal(size=reference.features.shape)
    blurred = (reference.features * rounding).astype(np.float32)
    again = replace(reference, features=blurred)
    assert 0.01 < require_reference(reference, message(again, scorer), scorer, "w") < 0.05
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("tokens", {"n_tokens": reference.n_tokens + 1}),
        ("relative error", {"features": np.roll(reference.features, 1)}),
        ("relative error of nan", {"features": reference.features * np.nan}),
        ("numbers, where", {"features": reference.features[1:]}),
        ("weights", {"weights": "v"}),
        ("multiplies", {"scores": message(reference, scorer).scores * 1.01}),
        ("multiplies", {"scores": np.empty(0, np.float32)}),
    ]
    for words, changed in wrong:
        with pytest.raises(ArtefactError, match=words):
            require_reference(reference, message(reference, scorer, **changed), scorer, "w")


@pytest.mark.parametrize("damage", [None, {}, {"text": "a", "n_tokens": 1, "features": "?"}])
def test_a_damaged_reference_is_an_artefacts_error(damage: Any) -> None:
    with pytest.raises(ArtefactError, match="reference"):
        Reference.from_dict(damage)


class FailingScout:
    """Gets ready or not, and fails at every query."""

    def __init__(self, ready: Exception | None, read: Exception, state: str = "ready") -> None:
        self._ready, self._read, self._state = ready, read, state
        self.n_read = 0
        self.closed = False

    async def start(self) -> None: ...

    async def ready(self) -> None:
        if self._ready:
            raise self._ready

    async def close(self) -> None:
        self.closed = True

    def status(self) -> dict[str, Any]:
        return {"scout": "engine", "state": self._state}

    def use(self, router: Router) -> None: ...

    async def read(self, conversation: Any, tools: Any = None, prospect: Any = None) -> Activations:
        self.n_read += 1
        raise self._read


async def test_the_second_scout_is_made_only_when_it_is_needed() -> None:
    from serving.scout import LocalScout

    made: list[LocalScout] = []

    def make() -> LocalScout:
        made.append(LocalScout(WordEncoder()))
        return made[-1]

    first = FailingScout(None, BackendError("gone"))
    scout = FallbackScout(first, make)
    await scout.start()
    await scout.ready()
    assert (made, scout.status()["scout"]) == ([], "engine")
    for _ in range(2):
        assert len(await scout.read(TALK)) == 1  # type: ignore[arg-type]
    assert (len(made), first.n_read) == (1, 2)
    await scout.close()
    assert first.closed


async def test_a_scout_that_is_refused_is_not_asked_again() -> None:
    from serving.scout import LocalScout

    first = FailingScout(ArtefactError("reads something else"), BackendError("gone"))
    scout = FallbackScout(first, lambda: LocalScout(WordEncoder()))
    await scout.start()
    await scout.ready()
    assert scout.status() == {"scout": "local", "state": "fallback", "detail": "reads something else"}
    await scout.read(TALK)
    assert first.n_read == 0
    await scout.close()


async def test_a_clients_mistake_is_not_tried_elsewhere() -> None:
    first = FailingScout(None, UsageError("bad", param="messages"))
    scout = FallbackScout(first, lambda: pytest.fail("nobody else is asked"))
    with pytest.raises(UsageError):
        await scout.read(TALK)
    await scout.close()


async def test_nobody_is_loaded_for_a_scout_that_is_only_starting() -> None:
    first = FailingScout(None, BackendError("not yet"), state="starting")
    scout = FallbackScout(first, lambda: pytest.fail("nobody else is asked"))
    with pytest.raises(BackendError, match="not yet"):
        await scout.read(TALK)
    await scout.close()


def test_a_gateway_with_its_scout_in_an_engine_loads_no_torch() -> None:
    code = "import sys, serving.assemble, serving.engine.posts; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
