// The answers of the HTTP API that the page reads; the contract itself is discgrade/result.py and discgrade/job.py.

export type Severity = "mild" | "moderate" | "severe";
export type Pfirrmann = "I" | "II" | "III" | "IV" | "V";

export const SEVERITIES: readonly Severity[] = ["mild", "moderate", "severe"];
export const PFIRRMANN: readonly Pfirrmann[] = ["I", "II", "III", "IV", "V"];

export const severityOf = (grade: Pfirrmann): Severity =>
  grade === "I" || grade === "II" ? "mild" : grade === "III" ? "moderate" : "severe";

export interface Disc {
  level: string;
  level_confidence: number;
  severity: Severity;
  severity_probabilities: Record<Severity, number>;
  pfirrmann: Pfirrmann;
  pfirrmann_probabilities: Record<Pfirrmann, number>;
  label: number;
  area_mm2: number;
  volume_mm3: number | null;
  height_mm: number;
}

export interface GradingResult {
  result_id: string;
  disclaimer: string;
  input: {
    format: string;
    chosen_series: string | null;
    chosen_because: string;
    slices: number;
    spacing_mm: [number, number, number];
  };
  discs: Disc[];
  models: { name: string; version: string; engine: string }[];
  timings_ms: Record<string, number>;
  warnings: { code: string; message: string }[];
}

export interface ProblemDocument {
  title: string;
  detail: string;
  advice: string;
  status: number;
  request_id?: string;
}

export type JobState = "queued" | "running" | "succeeded" | "failed" | "cancelled";

export interface Job {
  job_id: string;
  state: JobState;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  progress: { stage: string; done: number; of: number } | null;
  result_id: string | null;
  problem: ProblemDocument | null;
}

export interface JobPage {
  jobs: Job[];
  next_cursor: string | null;
}

export interface Caller {
  name: string;
  scopes: string[];
}
