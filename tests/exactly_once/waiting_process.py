"""A process of its own that waits for a job: the token on its standard input, the result on its standard output.

python waiting_process.py BASE_URL
"""

from __future__ import annotations

import asyncio
import json
import sys

from toolhouse_async import AsyncToolhouse, JobToken, PollingPolicy


async def main(base_url: str, token: str) -> None:
    quick = PollingPolicy(min_interval=0.05, max_interval=0.1)
    async with AsyncToolhouse("", base_url=base_url, polling=quick) as toolhouse:
        result = await toolhouse.wait_for_job(JobToken.from_json(token), resume_message="continue")
    print(json.dumps({"text": result.text, "run_id": result.run_id, "jobs": [job.job_id for job in result.jobs]}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.stdin.read()))
