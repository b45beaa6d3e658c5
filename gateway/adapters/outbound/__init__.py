"""Calls that go out: names looked up, addresses pinned, proxies taken; what a vendor says."""
