"""vLLM's own offline batch (`vllm.LLM.chat`) on the lines of one candidate; run by vLLM's Python.

``python -P offline.py MODEL LINES MAX_TOKENS THINK LAUNCHER`` prints one JSON object: seconds, tokens, texts.
Nothing but the standard library and vLLM is used.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path

MAX_MODEL_LEN, MAX_NUM_SEQS, BLOCK, CACHE_BYTES = 512, 64, 32, 256 << 20


def main(model: str, lines: str, max_tokens: str, think: str, launcher: str) -> None:
    """Answer all lines at once; loading is not counted."""
    runpy.run_path(launcher, run_name="launcher")  # tells vLLM its own version (see there)
    from vllm import LLM, SamplingParams

    rows = [json.loads(line) for line in Path(lines).read_text(encoding="utf-8").splitlines()]
    engine = LLM(
        model=model,
        dtype="float32",
        max_model_len=MAX_MODEL_LEN,
        max_num_seqs=MAX_NUM_SEQS,
        block_size=BLOCK,
        kv_cache_memory_bytes=CACHE_BYTES,
        enforce_eager=True,
        disable_log_stats=True,
    )
    wishes = SamplingParams(temperature=0, max_tokens=int(max_tokens))
    template = {"enable_thinking": True} if think == "1" else None
    chats = [row["body"]["messages"] for row in rows]
    engine.chat(chats[:4], wishes, chat_template_kwargs=template, use_tqdm=False)
    began = time.perf_counter()
    answers = engine.chat(chats, wishes, chat_template_kwargs=template, use_tqdm=False)
    seconds = time.perf_counter() - began
    tokens = sum(len(answer.outputs[0].token_ids) for answer in answers)
    texts = {row["custom_id"]: answer.outputs[0].text for row, answer in zip(rows, answers, strict=True)}
    sys.stdout.write("\n" + json.dumps({"seconds": seconds, "tokens": tokens, "texts": texts}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
