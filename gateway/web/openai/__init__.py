"""The OpenAI Images API, in front of the same orders."""
