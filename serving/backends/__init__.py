"""Where answers come from: one small protocol, three ways to speak it.

`base`      the protocol: ask, get a reply, read it whole or chunk by chunk
`openai`    any OpenAI-compatible URL
`vllm`      a vLLM server that the gateway starts, watches and stops
`local`     transformers in this process, for laptops and quick tests
`registry`  from a pool's settings to running backends
"""
