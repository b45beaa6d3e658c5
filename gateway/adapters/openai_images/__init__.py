"""The OpenAI Images API on the wire, as the vendor, Azure and compatible servers speak it."""
