"""The ground truth: a streaming completion server that does exactly as programmed and logs its own send times.

Everything that the harness claims about time and tokens is proven against it, in tests and by `--self-check`. It must
not know the harness, and needs neither gevent nor asyncio: its own lateness is what bounds every proof.
"""
