// The caller's jobs, the newest first.

import { useCallback, useEffect, useState } from "preact/hooks";
import { asProblem, jobs as fetchJobs, type Problem } from "./api";
import type { Job, ProblemDocument } from "./contract";
import { shortId, when } from "./format";
import { ended } from "./job";
import { ProblemBox } from "./problem";

const STATES: Record<Job["state"], string> = {
  queued: "waiting",
  running: "being graded",
  succeeded: "graded",
  failed: "not graded",
  cancelled: "cancelled",
};

const REFRESH_MS = 5000;

export function PastStudies({ onKeyNeeded }: { onKeyNeeded: (problem: Problem) => void }) {
  const [jobs, setJobs] = useState<Job[] | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [problem, setProblem] = useState<ProblemDocument | null>(null);

  const load = useCallback(
    async (after: string | null) => {
      try {
        const page = await fetchJobs(after);
        setProblem(null);
        setJobs((before) => (after === null ? page.jobs : [...(before ?? []), ...page.jobs]));
        setCursor(page.next_cursor);
      } catch (error) {
        const failed = asProblem(error);
        if (failed.document.status === 401) onKeyNeeded(failed);
        else setProblem(failed.document);
      }
    },
    [onKeyNeeded],
  );
  useEffect(() => void load(null), [load]);

  const waiting = jobs?.some((job) => !ended(job)) ?? false;
  useEffect(() => {
    if (!waiting) return;
    const timer = setInterval(() => void load(null), REFRESH_MS);
    return () => clearInterval(timer);
  }, [waiting, load]);

  return (
    <section aria-labelledby="past-heading">
      <div class="heading-row">
        <h2 id="past-heading">Past studies</h2>
        <button type="button" class="plain" onClick={() => void load(null)}>
          Refresh
        </button>
      </div>
      {problem && <ProblemBox problem={problem} />}
      {jobs?.length === 0 && <p class="quiet">None yet.</p>}
      {jobs && jobs.length > 0 && (
        <table class="past">
          <caption class="visually-hidden">Past studies, the newest first</caption>
          <thead>
            <tr>
              <th scope="col">Submitted</th>
              <th scope="col">State</th>
              <th scope="col">Number</th>
            </tr>
          </thead>
          <tbody>
            {jobs.map((job) => (
              <tr key={job.job_id}>
                <td>
                  <time dateTime={job.created_at}>{when(job.created_at)}</time>
                </td>
                <td>
                  <span class={`state ${job.state}`}>{STATES[job.state]}</span>
                  {job.problem && <span class="quiet reason">{job.problem.title}</span>}
                </td>
                <td>
                  <a
                    href={job.result_id ? `#/results/${job.result_id}` : `#/jobs/${job.job_id}`}
                    aria-label={`${job.result_id ? "Result" : "Job"} ${shortId(job.result_id ?? job.job_id)}`}
                  >
                    <code>{shortId(job.result_id ?? job.job_id)}</code>
                  </a>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {cursor && (
        <button type="button" class="plain" onClick={() => void load(cursor)}>
          Show older ones
        </button>
      )}
      <p class="quiet small after-table">Results are kept for a limited time. Studies carry no names here; note the number.</p>
    </section>
  );
}
