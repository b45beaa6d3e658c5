"""A faithful simulator of EvoLink's image API: the other side of the wire.

It stands in for the real service in the demo, in `serve --sandbox`, in the tests and in users' own
integration tests. It knows nothing of the gateway's core or ports.
"""

from gateway.upstream.sandbox.app import build_sandbox
from gateway.upstream.sandbox.options import SandboxOptions
from gateway.upstream.sandbox.running import RunningSandbox, running_sandbox
from gateway.upstream.sandbox.state import SandboxState

__all__ = [
    "RunningSandbox",
    "SandboxOptions",
    "SandboxState",
    "build_sandbox",
    "running_sandbox",
]
