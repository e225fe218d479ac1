// The table of discs, and what is known of the chosen one.

import { useEffect, useRef } from "preact/hooks";
import { PfirrmannBars, PfirrmannColumns, SeverityBars, SeverityStrip } from "./bars";
import type { Disc } from "./contract";
import { cubicMillimetres, levelName, millimetres, percent, squareMillimetres } from "./format";

/** Below this the name of a level is marked as uncertain, as on the overlay picture. */
export const SURE = 0.5;

interface Choice {
  discs: Disc[];
  chosen: Disc | null;
  choose: (disc: Disc) => void;
}

/** Whether picture and findings are side by side; page.css has the same width. */
const isWide = (): boolean => matchMedia("(min-width: 72rem)").matches;

export function DiscTable({ discs, chosen, choose }: Choice) {
  const buttons = useRef(new Map<number, HTMLButtonElement>());
  const current = chosen ?? discs[0];

  useEffect(() => {
    const row = chosen && buttons.current.get(chosen.label)?.closest("tr");
    if (row && isWide()) row.scrollIntoView({ block: "nearest" });
  }, [chosen]);

  function onKeyDown(event: KeyboardEvent) {
    const at = discs.findIndex((disc) => buttons.current.get(disc.label) === document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: discs.length - 1 }[event.key];
    const disc = to === undefined ? undefined : discs[to];
    if (to === undefined) return;
    event.preventDefault();
    if (!disc) return;
    buttons.current.get(disc.label)?.focus();
    choose(disc);
  }

  return (
    <table class="discs">
      <caption>From top to bottom. Choose a disc to see it in the picture; arrow keys move on.</caption>
      <thead>
        <tr>
          <th scope="col">
            Level<span class="visually-hidden"> and how sure it is</span>
          </th>
          <th scope="col">Severity</th>
          <th scope="col">Pfirrmann</th>
          <th scope="col" class="number wide">
            Height
          </th>
          <th scope="col" class="number wide">
            Area
          </th>
          <th scope="col" class="number wide">
            Volume
          </th>
        </tr>
      </thead>
      <tbody onKeyDown={onKeyDown}>
        {discs.map((disc) => (
          <tr key={disc.label} class={disc === chosen ? "chosen" : ""} onClick={() => choose(disc)}>
            <th scope="row">
              <button
                type="button"
                ref={(element) => {
                  if (element) buttons.current.set(disc.label, element);
                }}
                aria-pressed={disc === chosen}
                tabIndex={disc === current ? 0 : -1}
              >
                {levelName(disc)}
              </button>
              <span class={`sureness ${disc.level_confidence < SURE ? "unsure" : ""}`}>
                {percent(disc.level_confidence)} {disc.level_confidence < SURE ? "uncertain" : "sure"}
              </span>
            </th>
            <td class="severity">
              <span class={`swatch ${disc.severity}`} aria-hidden="true" />
              {disc.severity}{" "}
              <span class="quiet share">{percent(disc.severity_probabilities[disc.severity])}</span>
              <SeverityStrip disc={disc} />
            </td>
            <td>
              <span class="grade-cell">
                <span>
                  <span class="grade">{disc.pfirrmann}</span>{" "}
                  <span class="quiet share">{percent(disc.pfirrmann_probabilities[disc.pfirrmann])}</span>
                </span>
                <PfirrmannColumns disc={disc} />
              </span>
            </td>
            <td class="number wide">{millimetres(disc.height_mm)}</td>
            <td class="number wide">{squareMillimetres(disc.area_mm2)}</td>
            <td class="number wide">{cubicMillimetres(disc.volume_mm3)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function DiscDetail({ disc, show }: { disc: Disc; show: () => void }) {
  return (
    <section class="detail" aria-labelledby="detail-heading">
      <h2 id="detail-heading">
        {disc.level === "unknown" ? "Disc of unknown level" : disc.level}: {disc.severity}, Pfirrmann {disc.pfirrmann}
      </h2>
      <div class="detail-columns">
        <SeverityBars disc={disc} />
        <PfirrmannBars disc={disc} />
        <dl class="measures">
          <div>
            <dt>Level confidence</dt>
            <dd>{percent(disc.level_confidence)}</dd>
          </div>
          <div>
            <dt>Mean height</dt>
            <dd>{millimetres(disc.height_mm)}</dd>
          </div>
          <div>
            <dt>Area, middle slice</dt>
            <dd>{squareMillimetres(disc.area_mm2)}</dd>
          </div>
          <div>
            <dt>Volume</dt>
            <dd>{disc.volume_mm3 === null ? "not measured on one slice" : cubicMillimetres(disc.volume_mm3)}</dd>
          </div>
        </dl>
      </div>
      <button type="button" class="stacked-only" onClick={show}>
        Show in the picture
      </button>
    </section>
  );
}
