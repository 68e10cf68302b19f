// Server-sent events read with fetch, so that a token can go along; while there is no stream the page polls.
import { headers } from "./api.js";

const POLL_MS = 20000;
const QUIET_MS = 45000; // the server writes a comment every 15 s: three missed means that the line is dead

/** Follow /api/v1/stream for ever: `onEvent(name, data)`, `onState("live"|"polling")`, `onPoll()` while it is down. */
export function follow({ onEvent, onState, onPoll }) {
  let wait = 1000;
  let controller = null;
  let poller = null;
  const startPolling = () => {
    onState("polling");
    poller ??= setInterval(onPoll, POLL_MS);
  };
  const stopPolling = () => {
    clearInterval(poller);
    poller = null;
    onState("live");
  };
  async function once() {
    controller = new AbortController();
    const response = await fetch("/api/v1/stream", { headers: headers({ Accept: "text/event-stream" }), signal: controller.signal, cache: "no-store" });
    if (!response.ok || !response.body) throw new Error(`stream ${response.status}`);
    stopPolling();
    wait = 1000;
    await readEvents(response.body.getReader(), controller, onEvent);
  }
  (async () => {
    for (;;) {
      try {
        await once();
      } catch {
        // any failure is answered in the same way: poll and try again
      }
      startPolling();
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(wait * 2, 30000);
    }
  })();
  return { restart: () => { wait = 200; controller?.abort(); } };
}

async function readEvents(reader, controller, onEvent) {
  const decoder = new TextDecoder();
  let buffer = "";
  let quiet = setTimeout(() => controller.abort(), QUIET_MS);
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(quiet);
      quiet = setTimeout(() => controller.abort(), QUIET_MS);
      buffer = (buffer + decoder.decode(value, { stream: true })).replaceAll("\r\n", "\n");
      const blocks = buffer.split("\n\n");
      buffer = blocks.pop();
      for (const block of blocks) deliver(block, onEvent);
    }
  } finally {
    clearTimeout(quiet);
  }
}

function deliver(block, onEvent) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trim());
  }
  if (!data.length && name === "message") return;
  let parsed = {};
  try {
    parsed = data.length ? JSON.parse(data.join("\n")) : {};
  } catch {
    parsed = {};
  }
  onEvent(name, parsed);
}
