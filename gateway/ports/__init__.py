"""What the gateway needs from the world, as small protocols: a module for each who is needed.

The comments are the contract; one suite per port holds every adapter to it. Adapters translate
foreign exceptions at their boundary: what is not named here does not come out.
"""
