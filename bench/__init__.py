"""Where this package stands: beside other programs, and beside what the machine allows."""
