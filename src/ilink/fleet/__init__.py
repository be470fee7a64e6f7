"""One bot in many processes on as many machines as wanted: who works for which accounts, and how that changes hands."""
