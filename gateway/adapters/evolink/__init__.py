"""The vendor on the wire: the client that speaks to it and the sandbox that simulates it."""
