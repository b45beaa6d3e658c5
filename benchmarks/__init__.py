"""Measurements that people start by hand: `make bench`. None of them is a test."""
