"""The pure core: data in, decisions out.

No I/O, no clock, no random numbers, no environment, no logging, no async.
"""
