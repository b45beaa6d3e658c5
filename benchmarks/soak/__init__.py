"""A gateway under mixed traffic, faults and restarts for minutes or hours: does anything grow,
drift or get lost? `make soak MINUTES=…` runs it, CONTRIBUTING.md says how to read it.

`site` is what runs, `traffic` what clients and operators do, `trouble` what goes wrong meanwhile,
`promises` what has to hold in the end. `readings`, `books` and `proof` look whether it does.
"""
