"""The ledger in PostgreSQL, which several gateways share."""
