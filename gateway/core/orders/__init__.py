"""What a request asks for: read, spelt, priced, named, and admitted."""
