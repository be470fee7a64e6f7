"""The phone page: static files that the gateway serves; they use the control API and nothing else."""
