"""OpenTelemetry traces of requests; nothing in here is loaded unless the pool file asks for it."""
