"""What travels: models, numbers, headers, endpoints, codec, cipher. No I/O, no clock, no random."""
