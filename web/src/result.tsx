// A graded study: picture, table, warnings, downloads.

import { useEffect, useState } from "preact/hooks";
import { asProblem, deleteResult, type Problem, result as fetchResult } from "./api";
import type { Caller, Disc, GradingResult, ProblemDocument } from "./contract";
import { DiscDetail, DiscTable } from "./discs";
import { Downloads } from "./downloads";
import { levelName, shortId } from "./format";
import { ProblemBox } from "./problem";
import { Heading } from "./heading";
import { announce } from "./status";
import { Viewer, type Wanted } from "./viewer";

interface Props {
  id: string;
  caller: Caller;
  onKeyNeeded: (problem: Problem) => void;
}

export function ResultView({ id, caller, onKeyNeeded }: Props) {
  const [result, setResult] = useState<GradingResult | null>(null);
  const [problem, setProblem] = useState<ProblemDocument | null>(null);
  const [chosen, setChosen] = useState<Disc | null>(null);
  const [wanted, setWanted] = useState<Wanted | null>(null);

  useEffect(() => {
    fetchResult(id).then(setResult, (error: unknown) => {
      const failed = asProblem(error);
      if (failed.document.status === 401) onKeyNeeded(failed);
      else setProblem(failed.document);
    });
  }, [id, onKeyNeeded]);

  function choose(disc: Disc) {
    setChosen(disc);
    announce(`${levelName(disc)} chosen: ${disc.severity}, Pfirrmann ${disc.pfirrmann}.`);
  }

  /** From the table: the picture moves to the disc. Who clicks in the picture is there already. */
  function chooseAndShow(disc: Disc) {
    choose(disc);
    setWanted({ label: disc.label });
  }

  function show(disc: Disc) {
    setWanted({ label: disc.label });
    document.querySelector(".stage-frame")?.scrollIntoView({ block: "start" });
  }

  if (problem) {
    return (
      <div class="narrow">
        <Heading>Result</Heading>
        <ProblemBox problem={problem}>
          <a class="button" href="#/">
            To all studies
          </a>
        </ProblemBox>
      </div>
    );
  }
  if (!result) {
    return (
      <div class="narrow">
        <Heading>Result</Heading>
        <p>Loading…</p>
      </div>
    );
  }
  return (
    <div class="result">
      <Viewer result={result} chosen={chosen} choose={choose} wanted={wanted} />
      <div class="findings">
        <Heading>
          {result.discs.length} {result.discs.length === 1 ? "disc" : "discs"} graded
        </Heading>
        <p class="quiet small">
          Result <code>{shortId(result.result_id)}</code>, {FORMATS[result.input.format] ?? result.input.format},{" "}
          {result.input.slices} {result.input.slices === 1 ? "slice" : "slices"}
        </p>
        <Warnings result={result} />
        <DiscTable discs={result.discs} chosen={chosen} choose={chooseAndShow} />
        {chosen ? (
          <DiscDetail disc={chosen} show={() => show(chosen)} />
        ) : (
          <p class="quiet hint">Choose a disc, here or in the picture, to see all of its probabilities and measures.</p>
        )}
        <Downloads result={result} />
        <About result={result} />
        {caller.scopes.includes("admin") && <Deletion id={id} />}
      </div>
    </div>
  );
}

function Warnings({ result }: { result: GradingResult }) {
  if (result.warnings.length === 0) return null;
  return (
    <section class="notice warning" aria-labelledby="warnings-heading">
      <h2 id="warnings-heading">{result.warnings.length === 1 ? "Warning" : "Warnings"}</h2>
      <ul>
        {result.warnings.map(({ code, message }) => (
          <li key={code + message}>{message}</li>
        ))}
      </ul>
    </section>
  );
}

const FORMATS: Record<string, string> = {
  dicom: "DICOM",
  "dicom-multiframe": "DICOM, enhanced multi-frame",
  nifti: "NIfTI",
};

function About({ result }: { result: GradingResult }) {
  const { input, models, timings_ms: timings } = result;
  const total = timings.total;
  return (
    <details class="about">
      <summary>Study and models</summary>
      <dl>
        <div>
          <dt>Result</dt>
          <dd>
            <code>{result.result_id}</code>
          </dd>
        </div>
        <div>
          <dt>Input</dt>
          <dd>
            {FORMATS[input.format] ?? input.format}, {input.slices} {input.slices === 1 ? "slice" : "slices"}
          </dd>
        </div>
        <div>
          <dt>Spacing</dt>
          <dd>
            {input.spacing_mm[1].toFixed(2)} × {input.spacing_mm[2].toFixed(2)} mm, {input.spacing_mm[0].toFixed(2)} mm between
            slices
          </dd>
        </div>
        {input.chosen_series && (
          <div>
            <dt>Series</dt>
            <dd>
              <code>{input.chosen_series}</code>
            </dd>
          </div>
        )}
        <div>
          <dt>Why this series</dt>
          <dd>{input.chosen_because}</dd>
        </div>
        <div>
          <dt>Models</dt>
          <dd>{models.map(({ name, version, engine }) => `${name} ${version} (${engine})`).join(", ")}</dd>
        </div>
        {total !== undefined && (
          <div>
            <dt>Graded in</dt>
            <dd>{(total / 1000).toFixed(1)} s</dd>
          </div>
        )}
      </dl>
    </details>
  );
}

function Deletion({ id }: { id: string }) {
  const [asking, setAsking] = useState(false);
  const [problem, setProblem] = useState<ProblemDocument | null>(null);

  async function remove() {
    try {
      await deleteResult(id);
      announce("The result was deleted.");
      location.hash = "#/";
    } catch (error) {
      setProblem(asProblem(error).document);
      setAsking(false);
    }
  }

  return (
    <section class="deletion" aria-label="Deletion">
      {asking ? (
        <div class="notice problem">
          <p>Delete this result with all of its files, for good?</p>
          <div class="buttons">
            <button type="button" class="danger" onClick={() => void remove()}>
              Delete for good
            </button>
            <button type="button" onClick={() => setAsking(false)}>
              Keep it
            </button>
          </div>
        </div>
      ) : (
        <button type="button" class="plain" onClick={() => setAsking(true)}>
          Delete this result…
        </button>
      )}
      {problem && <ProblemBox problem={problem} />}
    </section>
  );
}
