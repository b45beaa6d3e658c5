"""The ledgers: one meaning (gateway.ports.ledger), several stores. Nothing is imported here."""
