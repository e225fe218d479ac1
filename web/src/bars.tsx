// Probabilities as bars. The numbers are in the text, so the bars themselves are hidden from screen readers.

import type { Disc, Pfirrmann, Severity } from "./contract";
import { PFIRRMANN, SEVERITIES, severityOf } from "./contract";
import { percent } from "./format";

/** All three classes in one bar, for a row of the table. */
export function SeverityStrip({ disc }: { disc: Disc }) {
  return (
    <span class="strip" aria-hidden="true">
      {SEVERITIES.map((severity) => (
        <span key={severity} class={`part ${severity}`} style={{ flexGrow: disc.severity_probabilities[severity] }} />
      ))}
    </span>
  );
}

/** Five columns, one a grade, for a row of the table. */
export function PfirrmannColumns({ disc }: { disc: Disc }) {
  return (
    <span class="columns" aria-hidden="true">
      {PFIRRMANN.map((grade) => (
        <span key={grade} class="column">
          <span
            class={`fill ${severityOf(grade)}`}
            style={{ height: `${Math.max(4, disc.pfirrmann_probabilities[grade] * 100)}%` }}
          />
        </span>
      ))}
    </span>
  );
}

function Bars({ caption, rows }: { caption: string; rows: { name: string; severity: Severity; share: number }[] }) {
  return (
    <table class="bars">
      <caption>{caption}</caption>
      <tbody>
        {rows.map(({ name, severity, share }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td class="track-cell" aria-hidden="true">
              <span class="track">
                <span class={`fill ${severity}`} style={{ width: `${share * 100}%` }} />
              </span>
            </td>
            <td class="number">{percent(share)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export const SeverityBars = ({ disc }: { disc: Disc }) => (
  <Bars
    caption="Probability of each severity"
    rows={SEVERITIES.map((name) => ({ name, severity: name, share: disc.severity_probabilities[name] }))}
  />
);

export const PfirrmannBars = ({ disc }: { disc: Disc }) => (
  <Bars
    caption="Probability of each Pfirrmann grade"
    rows={PFIRRMANN.map((name: Pfirrmann) => ({
      name,
      severity: severityOf(name),
      share: disc.pfirrmann_probabilities[name],
    }))}
  />
);
