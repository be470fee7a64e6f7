"""What a bot author sees: messages, and the receipts of what was sent."""
