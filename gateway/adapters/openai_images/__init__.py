"""The OpenAI Images API as an upstream: one call is the whole work and brings the pictures."""
