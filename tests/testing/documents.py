"""The documents' commands, with only the base URL changed, run by real bash and real curl.

Three samples of the documents are no valid shell or send nothing, so the corrected forms are run: a line
continuation without a blank behind it, one that was missing, and ``-s -D - -o /dev/null`` in place of ``-sI``, which
curl refuses beside a body.
"""

from __future__ import annotations

import subprocess

KEY = "YOUR_TOOLHOUSE_API_KEY"

CALLING = """
curl -XPOST \\
  https://agents.toolhouse.ai/$AGENT_ID \\
  -H 'Authorization: Bearer YOUR_TOOLHOUSE_API_KEY' \\
  --json '{"message": "Book at meeting over lunch with Jessica."}'
"""

STARTING = """
curl -XPOST https://agents.toolhouse.ai/$AGENT_ID \\
  -v -H 'Authorization: Bearer YOUR_TOOLHOUSE_API_KEY' \\
  --json '{
  "message": "Find discounts on wide-angle computer displays"
}'
"""

CONTINUING = """
curl -XPUT https://agents.toolhouse.ai/$AGENT_ID/$RUN_ID \\
-H 'Authorization: Bearer YOUR_TOOLHOUSE_API_KEY' \\
--json '{
  "message": "thank you, now find products similar to an iPhone"
}'
"""

POLLING = """
set +e  # as in an interactive shell: the last poll's grep finds nothing
# Start the task
RUN_ID=$(curl -s -D - -o /dev/null -XPOST https://agents.toolhouse.ai/$AGENT_ID \\
  -H 'Authorization: Bearer YOUR_TOOLHOUSE_API_KEY' \\
  --json '{"message": "Analyze this CSV and plot a histogram"}' \\
  | grep -i x-toolhouse-run-id | awk '{print $2}' | tr -d '\\r')

# Poll until the background job finishes
while true; do
  JOB_ID=$(curl -sI https://agents.toolhouse.ai/$AGENT_ID/$RUN_ID \\
    -H 'Authorization: Bearer YOUR_TOOLHOUSE_API_KEY' \\
    | grep -i x-toolhouse-job-id | awk '{print $2}' | tr -d '\\r')

  if [ -z "$JOB_ID" ]; then
    echo "Job complete, resuming..."
    break
  fi

  echo "Job $JOB_ID in progress, waiting..."
  sleep $PAUSE
done

# Resume inference
curl -XPUT https://agents.toolhouse.ai/$AGENT_ID/$RUN_ID \\
  -H 'Authorization: Bearer YOUR_TOOLHOUSE_API_KEY' \\
  --json '{"message": ""}'
"""
"""The documents' sample; its loop waits three seconds, here less."""


def bash(url: str, script: str, agent: str = "helper", **variables: str) -> str:
    """Run a script of the documents against a service and return what it prints; it must succeed."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "AGENT_ID": agent, "API_KEY": KEY, "PAUSE": "0.1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("https://agents.toolhouse.ai", url)],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
