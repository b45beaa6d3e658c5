"""The operator's API: `/admin/v1/...`, for admin keys only. One module for each noun."""

from __future__ import annotations

from typing import Final

BODY_BYTES: Final = 64 * 1024
"""Nothing that an operator sends comes near it."""
