// The wire format of the studio, and the elements of its pages. The other side of the wire is Python:
// ../chat/frames.py, ../playground/ and ../pages/.

// ---------------------------------------------------------------- answers

export interface ShownImage {
  src: string;
  alt: string;
}

export interface Source {
  title: string;
  url?: string | null;
  excerpt?: string;
}

/** A whole answer; `text` is its Markdown, `rate` says whether it can be rated, `cause` why it failed, for operators. */
export interface Answer {
  post: string;
  html: string;
  text: string;
  images?: ShownImage[];
  sources?: Source[];
  rate?: boolean;
  prompt?: string;
  failed?: boolean;
  cause?: string;
}

/** The HTML so far: the first `keep` UTF-16 units of what came before, then `html`. */
export interface TextFrame {
  kind: "text";
  post: string;
  keep: number;
  html: string;
}

/** A partial image, made small; width and height are those of the whole image, in pixels. */
export interface PartialImageFrame {
  kind: "sketch";
  post: string;
  src: string;
  alt: string;
  width: number;
  height: number;
}

export interface FailedFrame {
  kind: "failed";
  words: string;
  cause?: string;
}

// ---------------------------------------------------------------- chat

interface DoneFrame extends Answer {
  kind: "done";
  confirm?: string;
  confirm_label?: string;
  forgotten?: boolean;
}

type Framed = { kind: "said"; text: string } | { kind: "open"; post: string } | TextFrame | PartialImageFrame | DoneFrame;

/** A frame belongs to the message `event`; `at` is Unix time in milliseconds. */
export type ChatFrame = { event: string; at: number } & Framed;

export interface PastTurn {
  asked: { event: string; text: string };
  closed: { event: string; at: number } & Answer;
  good: boolean | null;
}

/** The turns that are kept, oldest first, and the path of the link that shares them, if there is one. */
export interface PastConversation {
  turns: PastTurn[];
  link: string;
}

/** A conversation as this browser remembers it; `pending` are messages without an answer, by event. */
export interface Remembered {
  id: string;
  title: string;
  at: number;
  pending: Record<string, { text: string; at: number; sent: boolean }>;
}

// ---------------------------------------------------------------- playground

export interface Example {
  user: string;
  assistant: string;
}

export interface Config {
  template: string;
  base: string;
  deployment: string;
  system: string;
  examples: Example[];
  parameters: Record<string, number | string | string[] | null>;
  inputs: Record<string, string>;
  past_messages: number | null;
  rest: { description?: string; pool?: string | null; shots?: number; tools?: string[]; knowledge?: string[] };
}

export interface TemplateCard {
  name: string;
  description: string;
  pool: string;
  tools: string[];
  knowledge: string[];
  setup: Config;
}

/** What a parameter may be: from one number to another, or one of these words. */
export type ParameterRange = [number, number] | string[];

export interface DeploymentCard {
  name: string;
  model: string;
  knobs: Record<string, ParameterRange>;
}

export interface PlaygroundFacts {
  first: string;
  templates: TemplateCard[];
  deployments: DeploymentCard[];
}

export interface PromptReport {
  template: string;
  deployment: string;
  tokens: number;
  parameters: Record<string, number | string | string[]>;
  left_out: string[];
  tools: string[];
  messages: { role: "system" | "user" | "assistant" | "tool"; text: string; tokens: number; example: boolean }[];
}

/** The next prompt, or why there is none; `examples` are the tokens of each complete example. */
export type Preview = { examples: number[] } & (PromptReport | { words: string; messages?: undefined });

export type TryFrame =
  | TextFrame
  | FailedFrame
  | (Answer & { kind: "done"; answer: string; sent: PromptReport | null; cost: string; calls?: Call[]; served: string });

/** A provider call of an answer, as words. */
export interface Call {
  purpose: string;
  deployment: string;
  tokens: string;
  cost: string;
}

/** A question that was asked in the playground, with the configuration that it was asked with. */
export interface Run {
  id: string;
  setup: Config;
  served: string;
}

/** What the dialogs of the playground may do with its page. */
export interface Playground {
  /** The configuration that is edited. */
  config: () => Config;
  configs: () => Config[];
  /** Shows what was changed in the configuration that is edited. */
  changed: () => void;
  /** Shows these configurations instead; false if none of them can be shown. */
  open: (configs: unknown) => boolean;
  /** Whether the edits of these configurations may go; asks if some were neither saved nor published. */
  discards: (configs: Config[]) => Promise<boolean>;
  /** What is shown has been saved or published. */
  kept: () => void;
  /** The question that is typed, or else was asked last. */
  question: () => string;
  notify: (text: string, ...more: Node[]) => void;
}

/** A saved configuration: `shared` with all editors or not, and whether it is `yours`. */
export interface SavedCard {
  id: string;
  name: string;
  author: string;
  at: number;
  shared: boolean;
  yours: boolean;
  may_change: boolean;
}

export interface PoolExamples {
  pools: string[];
  pool: string;
  total: number;
  examples: { user: string; assistant: string; near: number | null; tokens: number }[];
}

// ---------------------------------------------------------------- other pages

export interface ImageDeployment {
  name: string;
  knobs: Record<string, ParameterRange>;
  whole: boolean;
  masked: boolean;
}

export type ImageFrame = PartialImageFrame | FailedFrame | { kind: "done"; images: ShownImage[]; cost: string };

export type EvaluationFrame =
  | { kind: "progress"; answered: number; of: number; failed: number }
  | { kind: "done"; page: string }
  | FailedFrame;

export interface RunningAnswer {
  event: string;
  conversation: string;
  adapter: string;
  channel: string;
  person: string;
  template: string;
  deployment: string;
  attempt: number;
  asked: string;
  text: string;
  for_s: number;
}

// ---------------------------------------------------------------- elements

export type Attributes = Record<string, string | number | boolean | (() => void)>;

/** The elements of the templates that are more than an HTMLElement, by id. */
export interface Elements {
  brush: HTMLInputElement;
  code: HTMLDialogElement;
  compare: HTMLButtonElement;
  composer: HTMLFormElement;
  confirm: HTMLDialogElement;
  discard: HTMLDialogElement;
  deployment: HTMLSelectElement;
  download: HTMLAnchorElement;
  draw: HTMLButtonElement;
  export: HTMLSelectElement;
  facts: HTMLScriptElement | null;
  file: HTMLInputElement;
  height: HTMLInputElement;
  "image-form": HTMLFormElement;
  left: HTMLInputElement;
  lightbox: HTMLDialogElement;
  marks: HTMLCanvasElement;
  original: HTMLImageElement;
  own: HTMLInputElement;
  past: HTMLInputElement;
  pool: HTMLDialogElement;
  "pool-name": HTMLSelectElement;
  "pool-question": HTMLInputElement;
  progress: HTMLProgressElement;
  prompt: HTMLTextAreaElement;
  publish: HTMLDialogElement;
  "publish-channels": HTMLInputElement;
  "publish-for": HTMLSelectElement;
  "publish-name": HTMLInputElement;
  "publish-percent": HTMLInputElement;
  "publish-reason": HTMLInputElement;
  rename: HTMLFormElement | null;
  saved: HTMLDialogElement;
  "saved-name": HTMLInputElement;
  "saved-shared": HTMLInputElement;
  send: HTMLButtonElement;
  share: HTMLButtonElement;
  sharing: HTMLDialogElement;
  start: HTMLFormElement | null;
  system: HTMLTextAreaElement;
  template: HTMLSelectElement;
  top: HTMLInputElement;
  width: HTMLInputElement;
  words: HTMLTextAreaElement;
}
