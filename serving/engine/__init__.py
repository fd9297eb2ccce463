"""The scout inside vLLM: a prompt is computed once, scored on the way, and goes on generating if it may.

plugin/          what is loaded into vLLM itself, in its own environment
room.py          the private folder that gateway and engine share: weights in, a socket out
channel.py       the gateway's end of that socket
early/           requests that are sent before it is decided who answers (begun.py), and whether to (wager.py)
prompts.py       whose prompt is the scout's, token for token
reference.py     whether the engine reads what the probes were fitted on
scout.py         the scout: sends, waits for the scores
posts.py         where a scout is at work (post.py), made from a pool
truncation.py    the scout's first blocks as a model of their own, for a server that only encodes
"""
