"""The scout in this process: any decoder or encoder model that transformers loads.

The model is cut after the deepest block asked for, and hooks keep only the asked slices of each block:
a forward pass costs no more than the blocks read, and holds no more than their numbers.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

try:
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging
except ImportError as error:
    from probes.errors import MissingExtraError

    raise MissingExtraError(
        f"The transformers encoder needs {error.name}", hint='Run: pip install "foresight-router[scout]"'
    ) from error

from probes.encoders.batching import plan_batches
from probes.encoders.conversation import Conversation, Tools, as_conversation
from probes.encoders.encoder import Activations, Kind, Progress, ScoutIdentity
from probes.encoders.positions import check_positions, pick
from probes.encoders.rendering import Renderer
from probes.encoders.taps import attach, n_blocks, truncate
from probes.errors import ArtefactError, BackendError, UsageError

_FLOAT16_MAX = float(np.finfo(np.float16).max)
_CONTENT = ("*.safetensors", "config.json", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json")


class TransformersEncoder:
    """Reads activations with transformers.

    Parameters
    ----------
    folder
        A model in transformers' format, or the id of one in the local hub cache; nothing is downloaded
        and no code of the model's own is run.
    layers
        Blocks to read, counted from 1, 0 for the embeddings; None for every block.
    positions
        See `probes.encoders.positions.check_positions`.
    kind
        ``residual``: outputs of blocks. ``value``: attention value vectors.
    template_kwargs
        For the chat template.
    device
        Of torch.
    token_budget
        Most tokens of a padded batch.
    max_tokens
        Longest prompt read (see `Renderer`); None for what the model and its tokenizer allow.
    dtype
        ``auto``: float32 on a CPU, the checkpoint's own elsewhere; or a name such as ``bfloat16``.
    name
        For people; None for the folder's name.

    Attributes
    ----------
    identity : ScoutIdentity
    reading : dict
        ``dtype`` and ``max_tokens``, as they came to be.
    renderer : Renderer

    Raises
    ------
    ArtefactError
        If the model cannot be loaded, or lacks weights.
    UsageError
        If a layer, position or kind is none of the model's.

    Notes
    -----
    Prompts are padded on the right and indexed by their lengths, so neither the batch nor the
    tokenizer's padding side changes an activation. Values beyond float16's range (massive activations)
    are clipped to it.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        layers: Sequence[int] | None = None,
        positions: Sequence[str] = ("last",),
        kind: Kind = "residual",
        template_kwargs: Mapping[str, Any] | None = None,
        device: str = "cpu",
        token_budget: int = 8192,
        max_tokens: int | None = None,
        dtype: str = "auto",
        name: str | None = None,
    ) -> None:
        path = _local_folder(folder)
        self._model = _load_model(path, device, dtype)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        config = self._model.config.get_text_config()
        asked = _check_layers(layers, n_blocks(self._model), kind)
        limit = max_tokens or _longest_prompt(config, tokenizer)
        self.renderer = Renderer(tokenizer, template_kwargs, max_tokens=limit)
        self.reading = {"dtype": str(self._model.dtype).removeprefix("torch."), "max_tokens": limit}
        self._device = device
        self._token_budget = token_budget
        self._positions = check_positions(positions)
        self._lock = threading.Lock()
        self._slices: dict[int, torch.Tensor] = {}
        self._lengths = torch.ones(1, dtype=torch.long, device=device)
        attach(config, truncate(self._model, max(asked)), kind, asked, self._receive)
        self.identity = ScoutIdentity(
            model=name or path.name,
            revision=_content_hash(path),
            template_hash=self.renderer.template_hash,
            kind=kind,
            layers=asked,
            positions=self._positions,
            width=self._forward([[0]]).shape[-1],
        )

    def render(self, conversation: Conversation, tools: Tools | None = None) -> list[int]:
        """Token ids that are read for a conversation, uncut."""
        return self.renderer.render(as_conversation(conversation), tools)

    def encode(
        self,
        conversations: Sequence[Conversation],
        *,
        tools: Tools | None = None,
        progress: Progress | None = None,
    ) -> Activations:
        """Activations of n conversations.

        Parameters
        ----------
        conversations
            Any number of them, none included.
        tools
            Offered in each of them, in OpenAI's shape.
        progress
            Told after each batch.

        Raises
        ------
        UsageError
            If a conversation is malformed or the template refuses it.
        BackendError
            If the scout yields numbers that are not finite.
        """
        rendered = [self.render(conversation, tools) for conversation in conversations]
        n_tokens = np.array([len(ids) for ids in rendered], dtype=np.int64)
        ids = [self.renderer.cut(prompt) for prompt in rendered]
        shape = (len(ids), len(self.identity.layers), len(self._positions), self.identity.width)
        values = np.empty(shape, dtype=np.float16)
        done = 0
        for batch in plan_batches([len(prompt) for prompt in ids], self._token_budget):
            values[batch] = self._forward([ids[i] for i in batch])
            done += len(batch)
            if progress is not None:
                progress(done, len(ids))
        return Activations(values, n_tokens)

    def _forward(self, prompts: Sequence[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.float16]]:
        """float16 [batch, layers, positions, width] of one batch."""
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        inputs = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            inputs[row, : len(prompt)] = torch.tensor(prompt)
        mask = torch.arange(inputs.shape[1]) < lengths[:, None]
        with self._lock, torch.inference_mode():
            self._lengths = lengths.to(self._device)
            self._model(input_ids=inputs.to(self._device), attention_mask=mask.long().to(self._device))
            stacked = torch.stack([self._slices[place] for place in range(len(self._slices))], dim=1)
            self._slices.clear()
        if not torch.isfinite(stacked).all():
            raise BackendError("The scout's activations are not finite", hint="Load it with dtype 'float32'.")
        return stacked.clamp(-_FLOAT16_MAX, _FLOAT16_MAX).to(torch.float16).cpu().numpy()

    def _receive(self, place: int, states: torch.Tensor) -> None:
        self._slices[place] = pick(states, self._lengths, self._positions)


def _local_folder(folder: str | Path) -> Path:
    if Path(folder).is_dir():
        return Path(folder).resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(folder), local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as exc:
        raise ArtefactError(
            f"The scout {str(folder)!r} is no folder and not in the local hub cache",
            param="scout.model",
            hint="Give a folder in transformers' format, or download the model first.",
        ) from exc


def _load_model(path: Path, device: str, dtype: str) -> Any:
    if dtype == "auto" and torch.device(device).type == "cpu":
        dtype = "float32"
    try:
        with _quiet():
            model, loading = AutoModel.from_pretrained(
                path, local_files_only=True, trust_remote_code=False, dtype=dtype, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError) as exc:
        raise ArtefactError(f"The scout in {path} cannot be loaded: {exc}", param="scout.model") from exc
    missing = sorted(key for key in loading["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ArtefactError(f"The scout in {path} lacks weights, e.g. {missing[0]}", param="scout.model")
    if model.config.is_encoder_decoder:
        raise UsageError(f"The scout in {path} is an encoder-decoder model", param="scout.model")
    model.config.use_cache = False
    return model.to(device).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar, and no report that lists the language-model head as unexpected."""
    verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()


def _check_layers(layers: Sequence[int] | None, count: int, kind: Kind) -> tuple[int, ...]:
    if kind not in ("residual", "value"):
        raise UsageError(f"Unknown kind {kind!r}", param="kind", hint="Kinds are residual and value.")
    lowest = 0 if kind == "residual" else 1
    asked = tuple(range(1, count + 1)) if layers is None else tuple(layers)
    if not asked or len(set(asked)) < len(asked) or not all(lowest <= layer <= count for layer in asked):
        raise UsageError(
            f"Layers must be distinct and in {lowest}..{count}, not {list(asked)}", param="layers"
        )
    return asked


def _longest_prompt(config: Any, tokenizer: Any) -> int | None:
    limits = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    return min((int(limit) for limit in limits if limit and limit < 1e9), default=None)


def _content_hash(path: Path) -> str:
    """sha256 over names and contents of configuration, weights and tokenizer."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in _CONTENT for file in path.glob(pattern)}):
        with file.open("rb") as stream:
            digest.update(f"{file.name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()
