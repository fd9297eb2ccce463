"""What the gateway says over HTTP: routes, requests and their checks, errors, streams."""
