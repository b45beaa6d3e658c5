"""A faithful simulator of EvoLink's image API: the other side of the wire.

It stands in for the real service in the demo, in `serve --sandbox`, in the tests and in users' own
integration tests. It knows nothing of the gateway's core or ports.
"""

from gateway.sandbox.app import build_sandbox
from gateway.sandbox.options import SandboxOptions
from gateway.sandbox.running import RunningSandbox, running_sandbox
from gateway.sandbox.state import SandboxState

__all__ = [
    "RunningSandbox",
    "SandboxOptions",
    "SandboxState",
    "build_sandbox",
    "running_sandbox",
]
