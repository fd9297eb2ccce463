"""Forecast accuracy in a training loop, without generating: a transformers ``TrainerCallback``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from transformers import TrainerCallback

from probes.encoders.conversation import Conversation
from probes.errors import UsageError
from probes.forecast.checkpoint.states import read_states
from probes.forecast.checkpoint.transfer import CheckpointProbe

Log = Callable[[int, dict[str, float]], None]


class ForecastCallback(TrainerCallback):  # type: ignore[misc]
    """Logs the success that a frozen probe foresees, over all prompts and per task, every so many steps.

    Parameters
    ----------
    probe
        Fitted at an earlier checkpoint of this run.
    tokenizer
        The model's.
    conversations
        Prompts to watch.
    tasks
        Task of each prompt; one number a task is logged.
    every
        Steps between two forecasts.
    template_kwargs
        For the chat template.
    log
        Told (step, numbers); without it the numbers enter the trainer's own log, as ``forecast/…``.

    Raises
    ------
    UsageError
        A task is missing for a prompt, or `every` is not positive.
    """

    def __init__(
        self,
        probe: CheckpointProbe,
        tokenizer: Any,
        conversations: Sequence[Conversation],
        *,
        tasks: Sequence[str] | None = None,
        every: int = 500,
        template_kwargs: Mapping[str, Any] | None = None,
        log: Log | None = None,
    ) -> None:
        if every < 1:
            raise UsageError(f"Steps between forecasts must be positive, not {every}.", param="every")
        if tasks is not None and len(tasks) != len(conversations):
            raise UsageError(f"{len(tasks)} tasks for {len(conversations)} prompts.", param="tasks")
        self._probe = probe
        self._tokenizer = tokenizer
        self._conversations = list(conversations)
        self._tasks = np.array(tasks) if tasks is not None else None
        self._every = every
        self._kwargs = template_kwargs
        self._log = log

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forecast where it is time to; the model's mode is left as it was."""
        if state.global_step % self._every:
            return
        numbers = self.forecast(kwargs["model"])
        if self._log is not None:
            self._log(state.global_step, numbers)
            return
        named = {f"forecast/{name}": value for name, value in numbers.items()}
        state.log_history.append({"step": state.global_step, **named})

    def forecast(self, model: Any) -> dict[str, float]:
        """Mean success of the watched prompts, under ``all`` and by task, for a model in memory."""
        states = read_states(model, self._tokenizer, self._conversations, template_kwargs=self._kwargs)
        success = self._probe.predict_later(states)
        numbers = {"all": float(success.mean())}
        if self._tasks is not None:
            for name in dict.fromkeys(self._tasks.tolist()):
                numbers[name] = float(success[self._tasks == name].mean())
        return numbers
