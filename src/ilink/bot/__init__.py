"""Bots: handlers over a durable journal."""
