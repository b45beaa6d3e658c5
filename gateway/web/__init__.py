"""The HTTP face: Starlette routes over the service. The only place that knows status codes."""
