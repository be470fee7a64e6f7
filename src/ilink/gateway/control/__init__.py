"""The control API: whatever a person at the keyboard can do, as HTTP calls on a listener of their own."""
