"""The servers that several gateways share, each started from a wheel: no root, no container.

For `make cluster` and for the tests; a gateway in service never imports it.
"""
