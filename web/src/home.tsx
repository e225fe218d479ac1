// Hand a study in, and find those of before.

import { useRef, useState } from "preact/hooks";
import { asProblem, newIdempotencyKey, Problem, sample, submit } from "./api";
import type { Caller, ProblemDocument } from "./contract";
import { droppedFiles, worthSending } from "./files";
import { bytes } from "./format";
import { Heading } from "./heading";
import { Steps } from "./job";
import { PastStudies } from "./past";
import { ProblemBox } from "./problem";

interface Sending {
  files: readonly Blob[];
  idempotencyKey: string;
  sent: number;
  problem: Problem | null;
  abort: AbortController;
}

const NOTHING: ProblemDocument = {
  status: 0,
  title: "No files were found",
  detail: "What was chosen holds no files, or only empty ones.",
  advice: "Choose the DICOM files or the folder of a study, a zip of them, or a NIfTI file.",
};

interface Props {
  caller: Caller;
  onKeyNeeded: (problem: Problem) => void;
}

export function HomeView({ caller, onKeyNeeded }: Props) {
  const [sending, setSending] = useState<Sending | null>(null);
  const [problem, setProblem] = useState<ProblemDocument | null>(null);
  const mayRead = caller.scopes.includes("read");
  const maySubmit = caller.scopes.includes("jobs");

  async function send(files: readonly Blob[], idempotencyKey = newIdempotencyKey()) {
    setProblem(null);
    if (files.length === 0) return setProblem(NOTHING);
    const abort = new AbortController();
    const start: Sending = { files, idempotencyKey, sent: 0, problem: null, abort };
    setSending(start);
    try {
      const job = await submit(files, idempotencyKey, (sent) => setSending({ ...start, sent }), abort.signal);
      location.hash = `#/jobs/${job.job_id}`;
    } catch (error) {
      if (error instanceof DOMException) return setSending(null);
      const failed = asProblem(error);
      if (failed.document.status === 401) onKeyNeeded(failed);
      setSending({ ...start, problem: failed });
    }
  }

  async function sendSample() {
    try {
      await send([await sample()]);
    } catch (error) {
      setProblem(asProblem(error).document);
    }
  }

  if (sending) {
    const { files, problem: failed } = sending;
    const size = files.reduce((sum, { size }) => sum + size, 0);
    return (
      <div class="narrow">
        <Heading>Sending</Heading>
        <p class="quiet">
          {files.length} {files.length === 1 ? "file" : "files"}, {bytes(size)}. File names are not sent.
        </p>
        {failed ? (
          <ProblemBox problem={failed.document}>
            <button type="button" class="primary" onClick={() => void send(files, sending.idempotencyKey)}>
              Send again
            </button>
            <button type="button" onClick={() => setSending(null)}>
              Choose other files
            </button>
          </ProblemBox>
        ) : (
          <>
            <Steps current="upload" sent={sending.sent} />
            <button type="button" onClick={() => sending.abort.abort()}>
              Cancel
            </button>
          </>
        )}
      </div>
    );
  }
  return (
    <div class="narrow">
      <Heading>New study</Heading>
      {maySubmit ? (
        <DropZone send={(files) => void send(files)} sendSample={() => void sendSample()} />
      ) : (
        <div class="notice warning">
          <p>
            These credentials may not submit studies: they lack the scope <code>jobs</code>. Ask the operator for a key that
            has it.
          </p>
        </div>
      )}
      {maySubmit && !mayRead && (
        <div class="notice warning">
          <p>
            These credentials may submit studies but not read results: they lack the scope <code>read</code>.
          </p>
        </div>
      )}
      {problem && <ProblemBox problem={problem} />}
      {maySubmit && <PastStudies onKeyNeeded={onKeyNeeded} />}
    </div>
  );
}

function DropZone({ send, sendSample }: { send: (files: File[]) => void; sendSample: () => void }) {
  const [over, setOver] = useState(false);
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);

  function onDrop(event: DragEvent) {
    event.preventDefault();
    setOver(false);
    if (event.dataTransfer) void droppedFiles(event.dataTransfer).then(send);
  }

  const take = (input: HTMLInputElement) => {
    const chosen = worthSending(input.files ?? []);
    input.value = ""; // so that the same files can be chosen again
    send(chosen);
  };

  return (
    <section
      class={`drop-zone ${over ? "over" : ""}`}
      aria-label="Study to grade"
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={onDrop}
    >
      <p class="lead">Drop a lumbar MRI study here</p>
      <p class="quiet">DICOM files, their folder, a zip of them, or one NIfTI file. The sagittal T2 series is graded.</p>
      <input
        ref={files}
        type="file"
        multiple
        hidden
        data-testid="files"
        onChange={(event) => take(event.currentTarget)}
      />
      <input
        ref={folder}
        type="file"
        {...{ webkitdirectory: true }}
        hidden
        data-testid="folder"
        onChange={(event) => take(event.currentTarget)}
      />
      <div class="buttons">
        <button type="button" class="primary" onClick={() => files.current?.click()}>
          Choose files
        </button>
        <button type="button" onClick={() => folder.current?.click()}>
          Choose a folder
        </button>
        <button type="button" onClick={sendSample}>
          Try the sample phantom
        </button>
      </div>
    </section>
  );
}
