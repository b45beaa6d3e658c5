"""The ledgers: one meaning (gateway.ports.Ledger), several stores. Nothing is imported here."""


class ConstraintViolation(Exception):
    """A decision wrote what the ledger's constraints forbid. A defect of ours, never a caller's.

    Nothing of that transaction was written.
    """
