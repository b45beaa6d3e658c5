"""The ledgers: one meaning (gateway.ports.Ledger), several stores. Nothing is imported here."""
