"""Real vLLM servers that Foresight starts, watches and stops.

vLLM lives in a Python environment of its own, because its pins do not fit the gateway's; the two talk HTTP.

    environment.py  find that environment
    install.py      make it (`make setup`, `python -m serving.vllm.install`)
    flags.py        how a server is started on a CPU and on a GPU
    process.py      one running server
    launch.py       the program that vLLM's Python runs
"""
