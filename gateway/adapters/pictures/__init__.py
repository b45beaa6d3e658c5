"""Stores of pictures: bytes named by their digest, written once, kept for ever."""
