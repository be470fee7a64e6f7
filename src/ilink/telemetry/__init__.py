"""What a running bot tells those who look after it: metrics, traces, structured logs, and whether it is well.

    from ilink.telemetry.traces import Traces

    bot.observe(Traces())

`ilink run --metrics-listen 127.0.0.1:9464` serves the metrics and the two questions of whoever starts processes anew,
`/healthz` and `/readyz`; `--log-json` writes logs that programs read. Traces need the extra `telemetry`.
"""
