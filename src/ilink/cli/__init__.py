"""The ilink command."""
