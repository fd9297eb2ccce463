"""Foresight's gateway: an OpenAI-compatible endpoint in front of a pool of candidates.

Importing this package loads no web framework and no model code; take what you need from its modules::

    from serving.run import serve, running_gateway, background_gateway
    from serving.flow.gateway import Gateway
    from serving.http.app import create_app
"""
