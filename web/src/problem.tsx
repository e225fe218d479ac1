// A problem document, so that a person knows what to change.

import type { ComponentChildren } from "preact";
import type { ProblemDocument } from "./contract";

export function ProblemBox({ problem, children }: { problem: ProblemDocument; children?: ComponentChildren }) {
  return (
    <section class="notice problem" role="alert">
      <h2>{problem.title}</h2>
      <p>{problem.detail}</p>
      {problem.advice && (
        <p>
          <strong>What to change: </strong>
          {problem.advice}
        </p>
      )}
      {problem.request_id && (
        <p class="quiet small">
          Request <code>{problem.request_id}</code>
        </p>
      )}
      {children && <div class="buttons">{children}</div>}
    </section>
  );
}
