"""What several share in one process, and what therefore ends with it."""
