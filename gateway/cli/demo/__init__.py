"""The demo: one story of real requests, told on a terminal."""
