"""What runs inside vLLM: a KV connector that reads one token's activations and sends a few numbers out.

Nothing in here may import more than the standard library, torch, safetensors and vLLM: the gateway's own
packages are not installed in vLLM's environment (`tests/serving/engine/test_plugin.py` guards it).

    connector.py  vLLM's side: which hooks are used, and what they call
    worker.py     reads, multiplies, sends
    tracker.py    which step completes which prompt, and in which cache slots its tokens lie
    reader.py     activations out of the paged cache
    packing.py    how vLLM packs that cache on a CPU
    weights.py    the scorer's matrix, replaced without a restart
    outlet.py     the private socket that results leave by
"""
