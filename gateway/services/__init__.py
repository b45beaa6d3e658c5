"""The use cases, a noun each: what a request or an operator asks for."""
