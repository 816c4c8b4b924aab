// The documents of the HTTP API, as far as the pages read them. The server's
// description of them is at /v1/openapi.json. A time is RFC 3339; a Nanos is a
// duration in nanoseconds.

export type Nanos = number;
export type Health = "passing" | "warning" | "critical" | "unknown";

export interface Problem {
  status: number;
  detail: string;
  code: string;
  hint?: string;
  request?: string;
}

export interface Status {
  version: string;
  cluster: string;
  detail?: {
    name: string;
    started: string;
    ready: boolean;
    as_of?: string;
    nodes: number;
    linked: number;
    open: number;
    problems?: string[];
  };
}

export interface Datacenter {
  name: string;
  own: boolean;
  nodes: number;
  loaded: boolean;
  away?: string;
  error?: string;
}

export interface Check {
  id: string;
  name: string;
  status: Health;
  service?: string;
  service_id?: string;
  notes?: string;
  output?: string;
}

export interface ServiceSummary {
  name: string;
  dc: string;
  tags?: string[];
  instances: number;
  passing: number;
  warning: number;
  critical: number;
  unknown: number;
}

export interface ServiceInstance {
  id: string;
  node: string;
  address: string;
  port?: number;
  tags?: string[];
  status: Health;
  checks: Check[];
}

export interface ServiceDetail extends ServiceSummary {
  dns: string[];
  list: ServiceInstance[];
}

export interface Facts {
  host: string;
  os: string;
  distro?: string;
  version?: string;
  kernel?: string;
  arch: string;
  cpus: number;
  cpu_model?: string;
  memory: number;
  disks?: { device: string; mount: string; type: string; size: number }[];
  addresses?: { name: string; mac?: string; addresses?: string[] }[];
  boot_time?: number;
  virtual?: string;
  agent: string;
}

export interface Node {
  id?: string;
  name: string;
  dc: string;
  address: string;
  status: string;
  type?: string;
  build?: string;
  agent: string;
  since?: string;
  naming?: { site?: string; role?: string; cluster?: string; rack?: string; number?: string };
  facts?: Facts;
  facts_at?: string;
  services?: { id: string; name: string; address?: string; port?: number; tags?: string[] }[];
  checks?: Check[];
  meta?: Record<string, string>;
}

export interface NodeList {
  nodes: Node[];
  total: number;
  next?: string;
  as_of?: string;
}

export interface CheckState {
  node: string;
  dc: string;
  status: Health;
  since?: string;
  source: string;
  agent_lost?: boolean;
  received?: string;
  result: {
    check: string;
    name: string;
    kind: string;
    service?: string;
    notes?: string;
    status: Health;
    hard: Health;
    hard_since?: string;
    attempt: number;
    attempts: number;
    flapping?: boolean;
    timeout?: boolean;
    code?: number;
    output?: string;
    truncated?: boolean;
    at: string;
    took: Nanos;
  };
}

export interface LockSession {
  id: string;
  name?: string;
  node: string;
  ttl?: Nanos;
  lock_delay?: Nanos;
  behavior: string;
  checks?: string[];
  keys: string[];
}

export interface Tomography {
  min: number;
  median: number;
  max: number;
  peers: { node: string; ms: number }[];
}

export interface Settings {
  settings: { name: string; value: string; from: string; over?: string[] }[];
  delivered?: string;
}

export interface KVPair {
  key: string;
  value: string;
  index: number;
  created: number;
  session?: string;
  protected?: string;
}

export interface ACLEntry {
  id: string;
  name: string;
  description?: string;
  policies?: string[];
  local?: boolean;
}

export interface ACL {
  enabled: boolean;
  tokens: ACLEntry[];
  policies: ACLEntry[];
  why?: string;
}

export const states = [
  "PENDING", "ACKED", "QUEUED", "RUNNING",
  "OK", "FAILED", "SIGNALED", "TIMEOUT", "CANCELLED", "REJECTED", "EXPIRED", "SKIPPED", "UNKNOWN",
] as const;
export type State = (typeof states)[number];

export interface Output {
  bytes?: number;
  truncated?: boolean;
  digest?: string;
  inline?: string;
}

export interface Group {
  id: string;
  state: State;
  reason?: string;
  code?: number;
  signal?: string;
  count: number;
  nodes: string;
  stdout?: Output;
  stderr?: Output;
}

export interface Job {
  id: string;
  attempt: number;
  author: string;
  signer?: string;
  title: string;
  target: string;
  created: string;
  expires: string;
  ended?: string;
  phase: string;
  wave: number;
  waves: number;
  stopped?: string;
  unpublished?: string[];
  counts: Partial<Record<State, number>>;
  woke?: Record<string, number>;
  groups?: Group[];
  hidden?: number;
}

export interface JobRequest {
  target: string;
  command?: string[];
  script?: { name: string; body: string };
  args?: string[];
  run_as?: string;
  timeout?: number;
  expires_in?: number;
  canary?: number;
  batch?: string;
  max_fail?: string;
  confirm?: boolean;
  submit_token: string;
}

export interface Submission {
  job?: Job;
  draft?: { job: string; why: string; expires: string };
  warning?: string;
}

export interface IncidentEvent {
  at: string;
  kind: string;
  actor: string;
  text: string;
  data?: Record<string, string>;
}

export interface Incident {
  id: string;
  rule: string;
  severity: string;
  summary: string;
  owner?: string;
  runbook?: string;
  dc?: string;
  node?: string;
  check?: string;
  service?: string;
  disks?: string[];
  status: "open" | "acked" | "closed";
  health: Health;
  output?: string;
  began?: string;
  opened: string;
  updated: string;
  closed?: string;
  acked_by?: string;
  closed_by?: string;
  reopened?: number;
  timeline?: IncidentEvent[];
}

export interface IncidentList {
  incidents: Incident[];
  next?: string;
}

export interface Rule {
  name: string;
  check: string;
  target?: string;
  status: Health[];
  for: Nanos;
  severity: string;
  summary?: string;
  notify?: string[];
  owner?: string;
  runbook?: string;
  origin?: string;
}

export interface RuleList {
  rules: Rule[];
  receivers: { name: string; url?: string; command?: string[]; resolved: boolean }[];
  problems?: string[];
}

export interface JobState {
  state?: State;
  reason?: string;
  code?: number;
  woke?: string;
}

export interface Progress {
  state?: string;
  left: number;
  total?: number;
  unit?: string;
  rate?: number;
}

export interface Answer {
  verdict: "ok" | "no" | "skip" | "wait";
  reason?: string;
  facts?: Record<string, string>;
  evidence?: Record<string, string>;
  progress?: Progress;
}

export type StepKind = "confirm" | "guard" | "step" | "prove" | "undo";
export type StepState = "running" | "waiting" | "ok" | "no" | "skip";

export interface RemedyStep {
  rung: string;
  kind: StepKind;
  name: string;
  script: string;
  job: string;
  attempts: number;
  state: StepState;
  reason?: string;
  started: string;
  ended?: string;
  deadline?: string;
  nodes: { node: string; id: string; job?: JobState; answer?: Answer }[] | null;
}

export interface RemedyRun {
  id: string;
  policy: string;
  incident: string;
  dc: string;
  node: string;
  check: string;
  script: string;
  state: string;
  guard?: string;
  reason?: string;
  decided: string;
  started?: string;
  ended?: string;
  deadline?: string;
  job?: JobState;
  before?: CheckState;
  after?: CheckState;
  approved?: string;
  steps?: RemedyStep[];
  facts?: Record<string, string>;
}

// Simulation is what a policy would do; acting steps only said what they would.
export interface Simulation {
  verdicts: { guard: string; reason?: string }[];
  run: RemedyRun;
  would: boolean;
  reason?: string;
}

export interface PlanStep {
  kind: StepKind;
  name: string;
  script: string;
  args?: string[];
  on?: string;
  run_as?: string;
  undo?: string;
  timeout: Nanos;
  within: Nanos;
}

export interface Policy {
  name: string;
  rule: string;
  script?: string;
  args?: string[];
  mode: string;
  target?: string;
  group?: string;
  timeout: Nanos;
  verify: Nanos;
  cooldown: Nanos;
  per_hour: number;
  storm: number;
  storm_window: Nanos;
  failures: number;
  per_day?: number;
  retry?: Nanos;
  max_unavailable?: string;
  maintenance?: string[];
  rungs?: { name: string; steps: PlanStep[] }[];
  paused?: RemedyPause;
  blocked?: string;
  last_hour: number;
  failures_in_a_row: number;
  last?: RemedyRun;
}

export interface PolicyList {
  policies: Policy[];
  paused?: RemedyPause;
}

// RemedyPause is of all policies when it names neither a policy nor a group.
export interface RemedyPause {
  policy?: string;
  group?: string;
  by: string;
  at: string;
  reason?: string;
}

export interface StreamEvent {
  id: string;
  topic?: string;
  type: string;
  node?: string;
}
