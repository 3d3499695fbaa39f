// What goes over the wire: requests to the server, and the stream of frames from it.

const room = (conversation) => `/studio/conversations/${conversation}`;

/** 128 random bits as hexadecimal digits. (crypto.randomUUID is not there on plain http.) */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function answer(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Error("The server can’t be reached.");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(body.words ?? `The server answered with ${response.status}.`), { status: response.status });
  return body;
}

const request = (path, body, signal) =>
  fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Parley": "studio" },
    body: JSON.stringify(body),
    signal,
  });

/** Throws an Error whose message is for the person; `status` is that of the answer, where there was one. */
export const post = (conversation, what, body) => answer(request(`${room(conversation)}/${what}`, body));

/** What is to be had at a path. Throws as `post` does. */
export const load = (path) => answer(fetch(path));

/** The same for a page that isn't a conversation. An abandoned request throws an AbortError. */
export async function ask(path, body, signal) {
  try {
    return await answer(request(path, body, signal));
  } catch (error) {
    throw signal?.aborted ? new DOMException("abandoned", "AbortError") : error;
  }
}

/** Frames, one by one, of an answer that is streamed as lines of JSON. Throws as `ask` does. */
export async function* lines(path, body, signal) {
  let response;
  try {
    response = await request(path, body, signal);
  } catch {
    if (signal.aborted) return;
    throw new Error("The server can’t be reached.");
  }
  if (!response.ok) await answer(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { value, done } = await reader.read().catch(() => ({ done: true }));
    if (done) return;
    const whole = (rest + value).split("\n");
    rest = whole.pop();
    for (const line of whole) yield JSON.parse(line);
  }
}

/** The turns that are kept, oldest first. Throws as `post` does. */
export const history = async (conversation) => (await load(room(conversation))).turns;

/**
 * Follow the frames of a conversation until `close()`. A lost connection is taken up after the last
 * frame that came, after 1, 2, 4 ... 15 seconds; `onState(true | false)` says whether it stands.
 */
export class Stream {
  #conversation;
  #last = "0";
  #source;
  #timer;
  #failures = 0;
  #onFrame;
  #onState;

  constructor(conversation, onFrame, onState) {
    this.#conversation = conversation;
    this.#onFrame = onFrame;
    this.#onState = onState;
    this.#connect();
    addEventListener("online", this.#hurry);
  }

  close() {
    clearTimeout(this.#timer);
    removeEventListener("online", this.#hurry);
    this.#source?.close();
  }

  #hurry = () => {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#connect();
  };

  #connect() {
    this.#timer = undefined;
    this.#source = new EventSource(`${room(this.#conversation)}/events?after=${this.#last}`);
    this.#source.onopen = () => {
      this.#failures = 0;
      this.#onState(true);
    };
    this.#source.onmessage = (message) => {
      this.#last = message.lastEventId;
      this.#onFrame(JSON.parse(message.data));
    };
    this.#source.onerror = () => {
      this.#source.close();
      this.#onState(false);
      this.#timer = setTimeout(() => this.#connect(), Math.min(15, 2 ** this.#failures++) * 1000);
    };
  }
}
