"""The parts of the work for one account: polling, handling and sending, in one process or in several."""
