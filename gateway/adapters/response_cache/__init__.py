"""The response cache on this node's disk: fingerprint → finished run. Disposable."""

from gateway.adapters.response_cache.cache_folder import MAX_USED
from gateway.adapters.response_cache.disk_cache import (
    MAX_WAITING,
    DiskResponseCache,
    NoCache,
    response_cache,
)

__all__ = ["MAX_USED", "MAX_WAITING", "DiskResponseCache", "NoCache", "response_cache"]
