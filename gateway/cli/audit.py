"""`image-gateway audit`: proves that the ledger adds up.

Reads the ledger beside a running gateway, prints each invariant, exits 1 on a violation.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from gateway.cli.check import DEFAULT_PATH, EXIT_PROBLEMS, explain, load_settings
from gateway.config import SettingsError
