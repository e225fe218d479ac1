// Links to a result's files. Those that cannot be there are greyed, with the reason.

import { useState } from "preact/hooks";
import { asProblem, file, filePath } from "./api";
import type { GradingResult, ProblemDocument } from "./contract";
import { shortId } from "./format";
import { ProblemBox } from "./problem";
import { announce } from "./status";

interface Download {
  name: string;
  title: string;
  what: string;
  dicom?: boolean;
}

const DOWNLOADS: readonly Download[] = [
  { name: "result.json", title: "JSON", what: "the result" },
  { name: "segmentation.nii.gz", title: "NIfTI labels", what: "discs as a label image" },
  { name: "image.nii.gz", title: "NIfTI image", what: "the graded series" },
  { name: "overlay.png", title: "Picture", what: "PNG with outlines and grades" },
  { name: "report.pdf", title: "PDF", what: "one-page report" },
  { name: "segmentation.dcm", title: "DICOM SEG", what: "segmentation", dicom: true },
  { name: "report.sr.dcm", title: "DICOM SR", what: "structured report", dicom: true },
  { name: "overlay.dcm", title: "DICOM picture", what: "secondary capture", dicom: true },
  { name: "report.pdf.dcm", title: "DICOM PDF", what: "encapsulated report", dicom: true },
];

const NOT_DICOM = "The study came as NIfTI, which has no patient or study for a DICOM object to belong to.";

export function Downloads({ result }: { result: GradingResult }) {
  const [problem, setProblem] = useState<ProblemDocument | null>(null);

  async function save(event: MouseEvent, { name, title }: Download) {
    event.preventDefault(); // the browser would send no key, and save a problem as if it were the file
    setProblem(null);
    try {
      const url = URL.createObjectURL(await file(result.result_id, name));
      const link = document.createElement("a");
      link.href = url;
      link.download = `discgrade-${shortId(result.result_id)}-${name}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      announce(`${title} downloaded.`);
    } catch (error) {
      setProblem(asProblem(error).document);
    }
  }

  const nifti = result.input.format === "nifti";
  const absent = DOWNLOADS.filter((download) => nifti && download.dicom);
  return (
    <section aria-labelledby="downloads-heading">
      <h2 id="downloads-heading">Downloads</h2>
      <ul class="downloads">
        {DOWNLOADS.map((download) => (
          <li key={download.name}>
            {absent.includes(download) ? (
              <a role="link" aria-disabled="true" aria-describedby="not-dicom" title={NOT_DICOM}>
                <strong>{download.title}</strong> <span>{download.what}</span>
              </a>
            ) : (
              <a href={filePath(result.result_id, download.name)} onClick={(event) => void save(event, download)}>
                <strong>{download.title}</strong> <span>{download.what}</span>
              </a>
            )}
          </li>
        ))}
      </ul>
      {absent.length > 0 && (
        <p id="not-dicom" class="quiet small">
          Greyed: {NOT_DICOM}
        </p>
      )}
      {problem && <ProblemBox problem={problem} />}
    </section>
  );
}
