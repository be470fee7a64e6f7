"""The whole iLink stack for Python."""
