"""Every metric of the gateway, and how the numbers are read out.

What happens is counted as it happens, by the library's counters and histograms: `Metrics` is the
`Observer`. Money, budgets, runs and pictures are read from the ledger when someone looks, so they
cannot disagree with it. Label values come from the settings, the routes or closed lists: no input
can make a new one. Nothing here decides anything, and nobody waits for it.
"""

from gateway.adapters.metrics.scrape import Metrics

__all__ = ["Metrics"]
