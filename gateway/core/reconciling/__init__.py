"""Upstream's own record of what it did, held against the ledger: what differs, what is doubtful."""
