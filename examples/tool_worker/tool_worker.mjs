// A tool worker in JavaScript, with nothing but the official NATS client (docs/protocol.md).
//   npm install && GALERNE_SERVER=nats://127.0.0.1:4222 npm start
import { connect } from "@nats-io/transport-node";

const tool = {
  name: "slug",
  description: "Turn a title into a slug for a URL: lower case, words joined by hyphens",
  parameters: { type: "object", properties: { title: { type: "string" } }, required: ["title"] },
  effect: "pure", // the same call may be done again: no memory of calls is needed
  timeout: 60,
};

async function slug({ title, ...unknown }, progress) {
  if (typeof title !== "string" || Object.keys(unknown).length > 0)
    throw new Error("give one argument: title, a string");
  progress("reading the title", 0.5);
  const plain = title.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase(); // é is e
  return plain.match(/[a-z0-9]+/g)?.join("-") ?? "";
}

const bus = await connect({ servers: process.env.GALERNE_SERVER ?? "127.0.0.1:4222" });
const worker = `js-${process.pid}-${Math.random().toString(36).slice(2)}`; // new at each start
let active = 0, capacity = 16;

const send = (subject, message) => bus.publish(subject, JSON.stringify(message));
const announce = (leaving = false) =>
  send("galerne.presence.tools",
    { type: "tools_present", worker, tools: [tool], capacity, active, leaving });

async function answer(message) {
  if (active >= capacity) return send(message.reply, { type: "busy" });
  let said = {};
  const heartbeat = setInterval(
    () => send(message.reply, { type: "working", by: worker, ...said }), 500);
  active += 1;
  try {
    const progress = (note, fraction) => (said = { note, fraction });
    const value = await slug(message.json().arguments, progress);
    send(message.reply, { type: "result", value, content: value });
  } catch (error) {
    send(message.reply, { type: "error", code: "tool", message: error.message });
  } finally {
    clearInterval(heartbeat);
    active -= 1;
  }
}

const listen = (subject, take, options) =>
  bus.subscribe(subject, { ...options, callback: (error, message) => error || take(message) });
listen("galerne.presence_query.tools", () => announce());
listen(`galerne.tool.${tool.name}`, answer, { queue: "tools" });
announce();
setInterval(announce, 500, false);
console.log(`serving ${tool.name} as ${worker}`);
for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, () => (announce(true), bus.drain().then(() => process.exit(0))));
