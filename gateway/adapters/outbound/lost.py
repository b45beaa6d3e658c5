"""What is said of an answer that was lost further on: whoever says it had sent the order, and heard
nothing.

A relay passes on the words of a proxy, a balancer or a library behind it, under any status of its
own. What they tell of may have been made, and charged.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.adapters.outbound.said import VendorProblem

LOST_BEHIND_IT: Final = re.compile(
    r"(?i)time[ _-]?d?[ _-]?out|deadline[ _-]?exceeded|disconnect|fetch failed|read error"
    r"|reset (reason|before|by (the )?(peer|server|remote|upstream))|stream (was )?reset|econnreset"
    r"|connection[ _-]?(was |has been |is )?(reset|closed|terminat|lost|abort|broken|error)"
    r"|(peer|remote end|remote host|server|upstream|backend) (has |unexpectedly )?"
    r"(closed(?! for maintenance)|hung up)"
    r"|prematurely|broken pipe|hang ?up|\beof\b|incomplete ?(read|chunk|body|message|response)"
    r"|(request|operation|stream|call) (was |has been )?aborted|context canceled"
    r"|did(n't| not) (respond|answer|reply)|no (response|answer|reply) (was )?(received )?from"
)


def was_lost(problem: VendorProblem) -> bool:
    """Whether a readable error tells of it, by its code, its type or its words."""
    said = (problem.code, problem.kind, problem.message)
    return any(LOST_BEHIND_IT.search(one) for one in said)
