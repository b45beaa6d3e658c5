"""A whole ledger carried into another place: table by table, whatever kind each side is of.

tables.py   what is carried: every table of the newest schema, and how its rows are told apart
side.py     what a ledger has to be able to do for it; sqlite_side.py does it for a file
walking.py  two tables side by side: what the one lacks of the other
carrying.py all tables, again and again until nothing differs
marks.py    what a ledger says of itself meanwhile and afterwards: it arrives, or it has left
"""
