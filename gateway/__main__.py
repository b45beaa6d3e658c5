"""Lets `python -m gateway` do what the command `image-gateway` does; nothing else belongs here."""

from gateway.cli import main

if __name__ == "__main__":
    main()
