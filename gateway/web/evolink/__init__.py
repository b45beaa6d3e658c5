"""The vendor's API, mirrored."""
