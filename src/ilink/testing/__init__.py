"""What tests of bots import."""
