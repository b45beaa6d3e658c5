"""Several gateways with everything they need, from Python packages: no root, no container.

`make cluster` shows them at work; the tests start the same servers.
"""
