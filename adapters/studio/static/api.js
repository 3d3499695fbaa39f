// What goes over the wire: requests to the server, and the stream of frames from it.

/** @import { ChatFrame, PastConversation } from "./types.js" */

/** @param {string} conversation */
const pathOf = (conversation) => `/studio/conversations/${conversation}`;

/** An error with words for the person; `status` is that of the response, if there was one. */
export class RequestError extends Error {
  /** @param {string} message @param {number} [status] */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The words of an error for the person. @param {unknown} error */
export const wordsOf = (error) => (error instanceof Error ? error.message : String(error));

/** 128 random bits as hexadecimal digits. (crypto.randomUUID is not there on plain http.) */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} path @param {RequestInit} [init] */
async function request(path, init) {
  const response = await fetch(path, init).catch((error) => {
    throw init?.signal?.aborted ? error : new RequestError("Can’t reach the server.");
  });
  if (response.ok) return response;
  const { words } = await response.json().catch(() => ({}));
  throw new RequestError(words ?? `The server responded with ${response.status}.`, response.status);
}

/** @param {unknown} body @param {AbortSignal} [signal] @returns {RequestInit} */
const posting = (body, signal) => ({
  method: "POST",
  headers: { "Content-Type": "application/json", "X-Parley": "studio" },
  body: JSON.stringify(body),
  signal: signal ?? null,
});

/**
 * The JSON at a path. Throws RequestError.
 * @param {string} path
 * @returns {Promise<any>}
 */
export const load = async (path) => (await request(path)).json();

/**
 * The JSON that answers a request. Throws RequestError, and an AbortError for a request that was aborted.
 * @param {string} path @param {unknown} body @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export const ask = async (path, body, signal) => (await request(path, posting(body, signal))).json();

/**
 * Something that the person does in a conversation. Throws RequestError.
 * @param {string} conversation @param {"messages" | "edit" | "rating" | "stop"} what @param {object} body
 */
export const post = (conversation, what, body) => ask(`${pathOf(conversation)}/${what}`, body);

/**
 * Share a conversation by link, or stop. Throws RequestError.
 * @param {string} conversation @param {boolean} shared
 * @returns {Promise<string>} the path of the link
 */
export const share = async (conversation, shared) => (await ask(`${pathOf(conversation)}/link`, { shared })).link;

/**
 * The frames of an answer that is streamed as lines of JSON. It just ends when it is aborted. Throws RequestError.
 * @param {string} path @param {unknown} body @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<any>}
 */
export async function* lines(path, body, signal) {
  let response;
  try {
    response = await request(path, posting(body, signal));
  } catch (error) {
    if (signal?.aborted) return;
    throw error;
  }
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    // oxlint-disable-next-line no-await-in-loop -- one chunk comes after the other
    const { value, done } = await reader.read().catch(() => ({ value: "", done: true }));
    if (done) return;
    const whole = (rest + value).split("\n");
    rest = whole.pop() ?? "";
    for (const line of whole) yield JSON.parse(line);
  }
}

/**
 * The turns that are kept, oldest first, and the path of the link that shares them, if there is one. Throws RequestError.
 * @param {string} conversation
 * @returns {Promise<PastConversation>}
 */
export const history = (conversation) => load(pathOf(conversation));

/**
 * Follow a stream of events until the returned function is called. A lost connection is opened again after 1, 2,
 * 4 ... 15 seconds, or as soon as the browser is online.
 * @param {(last: string) => string} address by the id of the last event, at first "0"
 * @param {(data: any) => void} onEvent
 * @param {(connected: boolean) => void} onState
 */
export function follow(address, onEvent, onState) {
  let last = "0";
  let failures = 0;
  /** @type {number | undefined} */
  let timer;
  /** @type {EventSource} */
  let source;

  const connect = () => {
    timer = undefined;
    source = new EventSource(address(last));
    source.addEventListener("open", () => {
      failures = 0;
      onState(true);
    });
    source.addEventListener("signed-out", () => location.reload()); // leads to the sign-in; drafts are kept
    source.addEventListener("message", ({ data, lastEventId }) => {
      last = lastEventId;
      onEvent(JSON.parse(data));
    });
    source.addEventListener("error", () => {
      source.close();
      onState(false);
      timer = setTimeout(connect, Math.min(15, 2 ** failures++) * 1000);
    });
  };
  const hurry = () => {
    if (!timer) return;
    clearTimeout(timer);
    connect();
  };
  addEventListener("online", hurry);
  connect();
  return () => {
    clearTimeout(timer);
    removeEventListener("online", hurry);
    source.close();
  };
}

/**
 * Follow the frames of a conversation.
 * @param {string} conversation @param {(frame: ChatFrame) => void} onFrame @param {(connected: boolean) => void} onState
 */
export const followConversation = (conversation, onFrame, onState) => follow((last) => `${pathOf(conversation)}/events?after=${last}`, onFrame, onState);
