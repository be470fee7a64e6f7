"""Login, polling, upload and the reply window as state machines: values in, values out, time passed in."""
