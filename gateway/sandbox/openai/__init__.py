"""A faithful simulator of the OpenAI Images API, as OpenAI and as Azure serve it.

It makes a picture in one call that takes as long as the work, sends no byte before the picture is
done, and keeps a bill by key that it charges when the work is done, whoever is there to take it.
"""

from gateway.sandbox.openai.app import build_openai
from gateway.sandbox.openai.bill import Charge, key_id
from gateway.sandbox.openai.options import OpenAIOptions
from gateway.sandbox.openai.running import RunningOpenAI, running_openai
from gateway.sandbox.openai.state import OpenAIState

__all__ = [
    "Charge",
    "OpenAIOptions",
    "OpenAIState",
    "RunningOpenAI",
    "build_openai",
    "key_id",
    "running_openai",
]
