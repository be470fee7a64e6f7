"""The phone page: static files that the gateway's control listener serves; they use the control API and nothing else."""
