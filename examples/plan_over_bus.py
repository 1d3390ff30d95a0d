"""Ask a fleet's planners for a plan with nothing but a NATS client, as another language would.

GALERNE_SERVER=nats://127.0.0.1:4222 python examples/plan_over_bus.py

It imports nothing of Galerne: docs/protocol.md says all that it needs. Each task is printed the
moment the model has written it. `nats micro info galerne-plan` shows the service.
"""

import asyncio
import json
import os
import sys

import nats
from nats.aio.msg import Msg

SERVER = os.environ.get("GALERNE_SERVER", "nats://127.0.0.1:4222")
GOAL = "Compute 19 * 23, compute 6 * 7, then say which is larger"
CALCULATE = {
    "name": "calculate",
    "description": "Evaluate arithmetic, such as 6 * 7.",
    "parameters": {
        "type": "object",
        "properties": {"expression": {"type": "string"}},
        "required": ["expression"],
    },
}
FIRST_WORD = 5.0
"""Seconds until the first answer: planners that are there say at once that they work."""


async def main() -> int:
    """Give 0 for a whole plan, 1 for none."""
    answers: asyncio.Queue[Msg] = asyncio.Queue()
    connection = await nats.connect(SERVER)
    try:
        inbox = connection.new_inbox()
        await connection.subscribe(inbox, cb=answers.put)
        question = {"type": "plan", "goal": GOAL, "tools": [CALCULATE]}
        await connection.publish("galerne.plan", json.dumps(question).encode(), reply=inbox)
        patience = FIRST_WORD
        while True:
            try:
                message = await asyncio.wait_for(answers.get(), timeout=patience)
            except TimeoutError:
                print("the planner is gone: ask again")
                return 1
            if not message.data:  # the server's own word, status 503
                print("nobody serves galerne.plan here: start a planner")
                return 1
            answer = json.loads(message.data)
            match answer["type"]:
                case "plan_working":
                    patience = 3 * answer["heartbeat"]
                case "plan_task":
                    task = answer["task"]
                    what = task.get("args") or task.get("instruction")
                    after = f" (after {', '.join(task['needs'])})" if "needs" in task else ""
                    print(f"task {task['id']}: {what}{after}")
                case "plan_end":
                    error = answer.get("error")
                    print(error["message"] if error else f"{answer['count']} tasks")
                    return 1 if error else 0
    finally:
        await connection.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
