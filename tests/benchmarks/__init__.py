"""What the library costs, beside what aiohttp and orjson cost by themselves, and beside other clients.

``python -m tests.benchmarks --help`` says how to run it. The tests in here are the part of it that noise cannot
fail: they count instead of timing.
"""
