"""Submit a job to a running fleet, follow it, print its answer.

GALERNE_SERVER=nats://127.0.0.1:4222 python examples/submit.py "Count the words in README.md"
"""

import sys

import anyio

from galerne import Client, JobFailedError


async def main(goal: str) -> int:
    """Give 0 for a job that succeeded, 1 for one that did not."""
    async with Client.connect() as client:  # GALERNE_SERVER says where
        job = await client.submit(goal, tools=["text_stats", "calculate"])
        print(f"{job.id} is stored: it will be done, whatever happens here")
        async for event in job.events():
            print(f"{event.sequence:6} {event.name}")
        view = await job.view()
        for task in view.tasks:
            print(f"{task.id:8} {task.status:10} {task.usage.tokens} tokens")
        try:
            print(await job.result())
        except JobFailedError as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(anyio.run(main, " ".join(sys.argv[1:]) or "Count the words in README.md"))
