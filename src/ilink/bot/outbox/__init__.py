"""The way out: what waits to be sent, who sends it, and what is known of it."""
