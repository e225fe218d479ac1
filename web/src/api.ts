// The HTTP API of the server that served this page. Addresses are relative, so that a proxy may put it below a path.

import type { Caller, GradingResult, Job, JobPage, ProblemDocument } from "./contract";

const KEY = "discgrade.key";

/** The API key or access token of this tab, if one was entered. It is kept until the tab is closed. */
export const credentials = {
  get: (): string | null => sessionStorage.getItem(KEY),
  set: (key: string): void => sessionStorage.setItem(KEY, key),
  forget: (): void => sessionStorage.removeItem(KEY),
};

/** What the server answered instead of what was asked for; status 0 where it did not answer at all. */
export class Problem extends Error {
  constructor(
    readonly document: ProblemDocument,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(document.title);
  }

  /** Whether the same request may succeed later without anybody changing anything. */
  get passing(): boolean {
    return [0, 429, 502, 503, 504].includes(this.document.status);
  }
}

export const noAnswer = (): Problem =>
  new Problem({
    status: 0,
    title: "The server does not answer",
    detail: "The connection was refused, or broke.",
    advice: "Check the network, and that the server is running. Then try again.",
  });

/** Turn anything thrown into a problem that can be shown. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof TypeError) return noAnswer(); // what fetch throws where there is no answer
  throw error;
}

export function problemOf(status: number, body: string, retryAfter: string | null): Problem {
  const seconds = retryAfter !== null && /^\d+$/.test(retryAfter) ? Number(retryAfter) : null;
  try {
    const document = JSON.parse(body) as Partial<ProblemDocument>;
    if (typeof document.title === "string" && typeof document.detail === "string") {
      return new Problem({ advice: "", ...document, status } as ProblemDocument, seconds);
    }
  } catch {
    // not of this server: a proxy in between
  }
  return new Problem(
    {
      status,
      title: `The server answered with status ${status}`,
      detail: "The answer is none that this page knows; it may come from a proxy in between.",
      advice: "Try again; if it persists, tell the operator of the server.",
    },
    seconds,
  );
}

function headers(): Record<string, string> {
  const key = credentials.get();
  return key === null ? {} : { Authorization: `Bearer ${key}` };
}

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, { ...init, headers: { ...headers(), ...init.headers }, cache: "no-store" });
  if (!response.ok) throw problemOf(response.status, await response.text(), response.headers.get("retry-after"));
  return response;
}

const json = async <T>(path: string, init?: RequestInit): Promise<T> => (await (await request(path, init)).json()) as T;

export const filePath = (resultId: string, name: string): string =>
  name === "result.json" ? `v1/results/${resultId}` : `v1/results/${resultId}/${name}`;

export const caller = (): Promise<Caller> => json("v1/caller");
export const job = (id: string): Promise<Job> => json(`v1/jobs/${id}`);
export const cancelJob = (id: string): Promise<Job> => json(`v1/jobs/${id}`, { method: "DELETE" });
export const result = (id: string): Promise<GradingResult> => json(`v1/results/${id}`);
export const file = async (id: string, name: string): Promise<Blob> => (await request(filePath(id, name))).blob();
export const sample = async (): Promise<Blob> => (await request("page/phantom.zip")).blob();

export const jobs = (cursor: string | null): Promise<JobPage> =>
  json(`v1/jobs?limit=20${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`);

export async function deleteResult(id: string): Promise<void> {
  await request(`v1/results/${id}`, { method: "DELETE" });
}

/** A random name for one submission. `crypto.randomUUID` is missing on plain HTTP, which hospitals' networks have. */
export const newIdempotencyKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * Submit a study. The names of the files stay here: they often hold those of patients.
 *
 * @param onProgress Told the share that was sent, 0 to 1.
 */
export function submit(
  files: readonly Blob[],
  idempotencyKey: string,
  onProgress: (sent: number) => void,
  signal: AbortSignal,
): Promise<Job> {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    files.forEach((file, index) => form.append("files", file, String(index + 1)));
    const sending = new XMLHttpRequest(); // fetch does not say how much was sent
    sending.open("POST", "v1/jobs");
    sending.setRequestHeader("Idempotency-Key", idempotencyKey);
    for (const [name, value] of Object.entries(headers())) sending.setRequestHeader(name, value);
    sending.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    sending.onload = () => {
      if (sending.status === 202) resolve(JSON.parse(sending.responseText) as Job);
      else reject(problemOf(sending.status, sending.responseText, sending.getResponseHeader("retry-after")));
    };
    sending.onerror = () => reject(noAnswer());
    sending.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => sending.abort());
    sending.send(form);
  });
}
