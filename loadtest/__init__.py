"""The load harness: drives an OpenAI-compatible endpoint on a schedule, records every outcome, judges it against SLOs.

The measurement core needs gevent, and nothing of Locust; `locustfile` alone puts Locust around it. It may import
`serving`, which never imports it back.
"""
