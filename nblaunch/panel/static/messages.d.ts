// The messages between a panel and its pages, for TypeScript. page_messages.py explains them: change them
// there, and make this file anew with `python -m tests.javascript.shapes`.

export type Envelope = {
  client: string;
  n: number;
  buffers?: boolean;
  widget?: string;
  again?: boolean;
};

export type Here = {
  kind: "here";
  shared: boolean;
};

export type Hello = {
  kind: "hello";
};

export type Gone = {
  kind: "gone";
};

export type Watch = {
  kind: "watch";
  logs: string[];
};

export type Acknowledge = {
  kind: "ack";
  seq: number;
  logs: string[];
};

export type AskPage = {
  exact?: boolean;
  from: number;
  to: number;
  kind: "page";
  id: number;
  log: string;
};

export type AskStacks = {
  kind: "stacks";
  id: number;
};

export type Stop = {
  kind: "stop";
};

export type Kill = {
  kind: "kill";
};

export type Placed = {
  kind: "placed";
};

export type RunNews = {
  state?: string;
  words?: string;
  cpu?: number;
  memory?: number;
  about?: boolean;
  samples?: number;
  log_dir?: string;
  sent?: string;
  over?: boolean;
  elapsed?: number;
};

export type RankNews = {
  state?: string;
  pid?: number | null;
  began?: number | null;
  ended?: number | null;
  cpu?: number;
  memory?: number;
  out?: number;
  err?: number;
  line?: string;
  exit?: string;
  why?: string;
  asks?: string;
  about?: string;
  answer?: string;
  traceback?: string;
  collateral?: boolean;
  root?: boolean;
};

export type Chunk = {
  base64?: string;
  log: string;
  offset: number;
  pieces: [number, number, number][];
};

export type Tick = {
  full?: boolean;
  run?: RunNews;
  ranks?: Record<string, RankNews>;
  history?: Record<string, number[]>;
  heard?: Record<string, "control" | "comm">;
  ack?: boolean;
  probe?: number;
  kind: "tick";
  seq: number;
  clock: number;
  sizes: Record<string, number>;
  chunks: Chunk[];
};

export type Page = {
  client: string;
  id: number;
  chunk?: Chunk;
  error?: string;
  kind: "page";
};

export type Stacks = {
  client: string;
  id: number;
  text?: string;
  error?: string;
  kind: "stacks";
};

export type Beat = {
  kind: "beat";
};

export type Word = Here | Hello | Gone | Watch | Acknowledge | AskPage | AskStacks | Stop | Kill;

export type FromPage = Envelope & Word;

export type ToPage = Tick | Page | Stacks | Beat;
