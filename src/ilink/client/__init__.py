"""A typed client of the protocol: one coroutine per endpoint, and what drives the flows over it."""
