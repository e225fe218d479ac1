// A study on its way: where it stands, and why it ended if it did not succeed.

import { useEffect, useState } from "preact/hooks";
import { asProblem, cancelJob, job as fetchJob, type Problem } from "./api";
import type { Job, ProblemDocument } from "./contract";
import { Heading } from "./heading";
import { ProblemBox } from "./problem";
import { announce } from "./status";

const STAGES: readonly [string, string][] = [
  ["upload", "Sent"],
  ["queued", "Waiting for its turn"],
  ["fetch", "Fetching"],
  ["read", "Reading"],
  ["preprocess", "Preparing"],
  ["inference", "Segmenting and grading"],
  ["postprocess", "Measuring and drawing"],
];

export const ended = (job: Job): boolean => ["succeeded", "failed", "cancelled"].includes(job.state);

export function JobView({ id, onKeyNeeded }: { id: string; onKeyNeeded: (problem: Problem) => void }) {
  const [job, setJob] = useState<Job | null>(null);
  const [trouble, setTrouble] = useState<ProblemDocument | null>(null);
  const [lost, setLost] = useState<ProblemDocument | null>(null);

  useEffect(() => {
    let timer = 0;
    let left = false;
    let wait = 400;
    const ask = async () => {
      try {
        const now = await fetchJob(id);
        if (left) return;
        setTrouble(null);
        setJob(now);
        if (now.state === "succeeded") return location.replace(`#/results/${now.result_id}`);
        if (ended(now)) return;
        wait = Math.min(2000, wait * 1.15);
      } catch (error) {
        if (left) return;
        const problem = asProblem(error);
        if (problem.document.status === 401) return onKeyNeeded(problem);
        if (!problem.passing) return setLost(problem.document);
        setTrouble(problem.document);
        wait = Math.max(1000, (problem.retryAfterSeconds ?? 1) * 1000);
      }
      timer = window.setTimeout(() => void ask(), wait);
    };
    void ask();
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [id, onKeyNeeded]);

  const stage = job?.state === "running" ? (job.progress?.stage ?? "read") : "queued";
  useEffect(() => {
    if (job && !ended(job)) announce(STAGES.find(([name]) => name === stage)?.[1] ?? stage);
  }, [job === null, job?.state, stage]);

  async function cancel() {
    try {
      setJob(await cancelJob(id));
    } catch (error) {
      const problem = asProblem(error);
      if (problem.passing) setTrouble(problem.document); // else it ended meanwhile, which the next answer tells
    }
  }

  if (lost) return <Ended heading="Study" problem={lost} />;
  if (job?.state === "failed" && job.problem) return <Ended heading="The study was not graded" problem={job.problem} />;
  if (job?.state === "cancelled") {
    return (
      <div class="narrow">
        <Heading>Cancelled</Heading>
        <p>The study was not graded, and its upload was removed from the server.</p>
        <p>
          <a class="button" href="#/">
            New study
          </a>
        </p>
      </div>
    );
  }
  return (
    <div class="narrow">
      <Heading>Grading</Heading>
      <Steps current={stage} sent={null} />
      {trouble && (
        <div class="notice warning" role="alert">
          <p>
            <strong>{trouble.title}. </strong>
            The study is safe on the server; this page goes on asking.
          </p>
        </div>
      )}
      <p class="quiet">The page may be closed or reloaded meanwhile; the study is found again under past studies.</p>
      <button type="button" onClick={() => void cancel()}>
        Cancel
      </button>
    </div>
  );
}

function Ended({ heading, problem }: { heading: string; problem: ProblemDocument }) {
  return (
    <div class="narrow">
      <Heading>{heading}</Heading>
      <ProblemBox problem={problem}>
        <a class="button" href="#/">
          Send another
        </a>
      </ProblemBox>
    </div>
  );
}

/**
 * The way of a study.
 *
 * @param current The step it is in.
 * @param sent The share of the upload that was sent, while it is sent.
 */
export function Steps({ current, sent }: { current: string; sent: number | null }) {
  const steps = STAGES.filter(([name]) => name !== "fetch" || name === current); // of studies named, not sent
  const at = steps.findIndex(([name]) => name === current);
  const done = (at + (sent ?? 0)) / steps.length;
  return (
    <>
      <progress max={1} value={done} aria-label="Progress of the study" />
      <ol class="steps">
        {steps.map(([name, title], index) => (
          <li
            key={name}
            class={index < at ? "done" : index === at ? "current" : ""}
            aria-current={index === at ? "step" : undefined}
          >
            {name === "upload" && index === at ? `Sending${sent === null ? "" : ` ${Math.round(sent * 100)} %`}` : title}
            {index < at && <span class="visually-hidden"> (done)</span>}
          </li>
        ))}
      </ol>
    </>
  );
}
