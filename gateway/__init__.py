"""A self-hosted caching gateway in front of an asynchronous image-generation API.

Importing this package does nothing but name its version; `wiring` builds, `cli` runs.
"""

__version__ = "0.1.0"
