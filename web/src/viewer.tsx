// The picture: slices to scroll, window and level, outlines that can be clicked. What it cannot show, it says.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { asProblem, file } from "./api";
import type { Disc, GradingResult } from "./contract";
import { SURE } from "./discs";
import { levelName } from "./format";
import type { Picture, Placement, View } from "./picture";
import { announce } from "./status";
import { Controls, type Tool } from "./viewer-controls";
import { change, type Gesture } from "./viewing";

interface Props {
  result: GradingResult;
  chosen: Disc | null;
  choose: (disc: Disc) => void;
  wanted: Wanted | null;
}

/** A disc to move to; each wish is an object of its own, so that the same disc can be wished for again. */
export interface Wanted {
  label: number;
}

export function Viewer({ result, chosen, choose, wanted }: Props) {
  const [picture, setPicture] = useState<Picture | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const canvas = useRef<HTMLCanvasElement>(null);

  useEffect(() => {
    let opened: Picture | null = null;
    let left = false;
    void (async () => {
      try {
        if (!hasWebGl2()) throw new Unseen("This browser has no WebGL 2, which the slices are drawn with.");
        const [{ Picture }, ...files] = await Promise.all([
          import("./picture"),
          file(result.result_id, "image.nii.gz"),
          file(result.result_id, "segmentation.nii.gz"),
        ]);
        const [image, labels] = await Promise.all(files.map((blob) => blob.arrayBuffer()));
        if (left || !canvas.current || !image || !labels) return;
        canvas.current.addEventListener("webglcontextlost", () => {
          if (!left) setFailure("The browser took the graphics memory away; loading the page again may help.");
        });
        opened = await Picture.open(canvas.current, image, labels);
        if (left) opened.close();
        else setPicture(opened);
      } catch (error) {
        if (!left) setFailure(error instanceof Unseen ? error.message : reasonOf(error));
      }
    })();
    return () => {
      left = true;
      opened?.close();
    };
  }, [result.result_id]);

  if (failure !== null) return <Still result={result} reason={failure} />;
  return (
    <section class="viewer" aria-label="Picture">
      <div class="stage-frame">
        <canvas ref={canvas} aria-hidden="true" />
        {picture ? (
          <Stage picture={picture} result={result} chosen={chosen} choose={choose} wanted={wanted} />
        ) : (
          <p class="loading">Loading the slices…</p>
        )}
      </div>
    </section>
  );
}

class Unseen extends Error {}

const hasWebGl2 = (): boolean => document.createElement("canvas").getContext("webgl2") !== null;

function reasonOf(error: unknown): string {
  try {
    return asProblem(error).document.detail;
  } catch {
    return "The slices could not be drawn in this browser.";
  }
}

/** What is shown where slices cannot be: the picture that was drawn by the server. */
function Still({ result, reason }: { result: GradingResult; reason: string }) {
  const [source, setSource] = useState<string | null>(null);
  useEffect(() => {
    let url: string | null = null;
    file(result.result_id, "overlay.png").then(
      (blob) => setSource((url = URL.createObjectURL(blob))),
      () => announce("The picture could not be loaded."),
    );
    return () => {
      if (url) URL.revokeObjectURL(url);
    };
  }, [result.result_id]);
  return (
    <section class="viewer still" aria-label="Picture">
      <div class="notice warning">
        <p>
          <strong>Slices cannot be scrolled here. </strong>
          {reason} Below is the picture that the server drew; all measures and downloads are as usual.
        </p>
      </div>
      {source && <img src={source} alt={`Middle sagittal slice. ${described(result.discs)}`} />}
    </section>
  );
}

const described = (discs: readonly Disc[]): string =>
  `Discs from top to bottom: ${discs.map((disc) => `${levelName(disc)} ${disc.severity}, Pfirrmann ${disc.pfirrmann}`).join("; ")}.`;

interface StageProps extends Props {
  picture: Picture;
}

function Stage({ picture, result, chosen, choose, wanted }: StageProps) {
  const [view, setView] = useState<View>(picture.start);
  const [placement, setPlacement] = useState<Placement | null>(null);
  const [outlined, setOutlined] = useState(true);
  const [tool, setTool] = useState<Tool>("window");
  const stage = useRef<HTMLDivElement>(null);
  const pressed = useRef<{ x: number; y: number; moved: boolean; gesture: Tool } | null>(null);
  const wheel = useRef(0);

  const scrolled = useRef(false);

  const act = useCallback(
    (gesture: Gesture) => {
      scrolled.current = gesture.kind === "scroll" || gesture.kind === "slice";
      setView((before) => change(picture, before, gesture));
    },
    [picture],
  );

  useLayoutEffect(() => {
    picture.draw(view);
    setPlacement(picture.placement());
  }, [picture, view]);

  useEffect(() => {
    const element = stage.current;
    if (!element) return;
    const resized = new ResizeObserver(() => act({ kind: "resized" }));
    resized.observe(element);
    // Preact's own wheel listeners are passive, and would let the page scroll.
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      if (event.ctrlKey) return act({ kind: "zoom", factor: Math.exp(-event.deltaY / 200) });
      wheel.current += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / 60 : event.deltaY;
      const steps = Math.trunc(wheel.current);
      wheel.current -= steps;
      if (steps !== 0) act({ kind: "scroll", slices: Math.sign(steps) });
    };
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => {
      resized.disconnect();
      element.removeEventListener("wheel", onWheel);
    };
  }, [act]);

  useEffect(() => {
    if (wanted) act({ kind: "disc", label: wanted.label });
  }, [wanted, act]);

  function discAt(event: PointerEvent): Disc | null {
    if (!placement || !stage.current) return null;
    const box = stage.current.getBoundingClientRect();
    const y = Math.floor((event.clientX - box.left - placement.x) / placement.dx);
    const z = Math.floor((event.clientY - box.top - placement.y) / placement.dy);
    const label = picture.labels.at(view.slice, y, z);
    return result.discs.find((disc) => disc.label === label) ?? null;
  }

  function onPointerDown(event: PointerEvent) {
    if (event.button > 1) return;
    const gesture = event.button === 1 || event.shiftKey ? "pan" : tool;
    pressed.current = { x: event.clientX, y: event.clientY, moved: false, gesture };
    stage.current?.setPointerCapture(event.pointerId);
  }

  function onPointerMove(event: PointerEvent) {
    const start = pressed.current;
    if (!start) {
      stage.current?.classList.toggle("over-disc", outlined && discAt(event) !== null);
      return;
    }
    const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
    if (!start.moved && Math.hypot(dx, dy) < 4) return;
    start.moved = true;
    if (start.gesture === "scroll") {
      const slices = Math.trunc(dy / 12);
      if (slices !== 0) start.y += slices * 12;
      act({ kind: "scroll", slices });
      return;
    }
    [start.x, start.y] = [event.clientX, event.clientY];
    if (start.gesture === "pan") act({ kind: "pan", dx, dy });
    else act({ kind: "window", width: dx / 200, level: -dy / 200 });
  }

  function onPointerUp(event: PointerEvent) {
    const start = pressed.current;
    pressed.current = null;
    if (!start || start.moved || event.button !== 0 || !outlined) return;
    const disc = discAt(event);
    if (disc) choose(disc);
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const gesture = keyGesture(event, picture.slices);
    if (gesture) act(gesture);
    else if (event.key === "o") setOutlined(!outlined);
    else return;
    event.preventDefault();
  }

  useEffect(() => {
    // Where a chosen disc moved the picture, the disc is what is said.
    if (scrolled.current) announce(`Slice ${view.slice + 1} of ${picture.slices}`);
  }, [view.slice, picture]);

  const where = `Sagittal slice ${view.slice + 1} of ${picture.slices}, counted from the patient's right.`;
  return (
    <>
      <div
        ref={stage}
        class="stage"
        role="application"
        aria-roledescription="slice viewer"
        aria-label={`${where} ${described(result.discs)}`}
        aria-describedby="viewer-keys"
        tabIndex={0}
        onPointerDown={onPointerDown}
        onPointerMove={onPointerMove}
        onPointerUp={onPointerUp}
        onPointerCancel={() => (pressed.current = null)}
        onDblClick={() => act({ kind: "reset" })}
        onKeyDown={onKeyDown}
      >
        {placement && (
          <Marks
            picture={picture}
            view={view}
            placement={placement}
            discs={outlined ? result.discs : []}
            chosen={chosen}
          />
        )}
      </div>
      <Controls
        picture={picture}
        view={view}
        act={act}
        outlined={outlined}
        setOutlined={setOutlined}
        tool={tool}
        setTool={setTool}
      />
    </>
  );
}

/** What keys do while the picture has the focus. */
function keyGesture(event: KeyboardEvent, slices: number): Gesture | null {
  if (event.shiftKey) {
    switch (event.key) {
      case "ArrowRight":
        return { kind: "window", width: 0.05, level: 0 };
      case "ArrowLeft":
        return { kind: "window", width: -0.05, level: 0 };
      case "ArrowUp":
        return { kind: "window", width: 0, level: 0.05 };
      case "ArrowDown":
        return { kind: "window", width: 0, level: -0.05 };
    }
  }
  switch (event.key) {
    case "ArrowDown":
    case "ArrowRight":
    case "PageDown":
      return { kind: "scroll", slices: 1 };
    case "ArrowUp":
    case "ArrowLeft":
    case "PageUp":
      return { kind: "scroll", slices: -1 };
    case "Home":
      return { kind: "scroll", slices: -slices };
    case "End":
      return { kind: "scroll", slices };
    case "+":
    case "=":
      return { kind: "zoom", factor: 1.25 };
    case "-":
      return { kind: "zoom", factor: 0.8 };
    case "0":
      return { kind: "reset" };
    default:
      return null;
  }
}

interface MarksProps {
  picture: Picture;
  view: View;
  placement: Placement;
  discs: readonly Disc[];
  chosen: Disc | null;
}

const SCALE_BAR_MM = 50;

function Marks({ picture, view, placement, discs, chosen }: MarksProps) {
  const { x, y, dx, dy } = placement;
  const outlines = picture.labels.outlines(view.slice);
  const bar = (SCALE_BAR_MM / picture.spacing[1]) * Math.abs(dy);
  return (
    <svg class="marks" aria-hidden="true">
      <filter id="plate" x="-4%" y="-8%" width="108%" height="116%">
        <feFlood class="plate" result="plate" />
        <feMerge>
          <feMergeNode in="plate" />
          <feMergeNode in="SourceGraphic" />
        </feMerge>
      </filter>
      {discs.map((disc) => {
        const path = outlines.get(disc.label);
        const bounds = picture.labels.bounds.get(disc.label);
        if (!path || !bounds) return null;
        const side = x + bounds.y[0] * dx + 8; // the lowest column is the hindmost: right of the disc
        const middle = y + ((bounds.z[0] + bounds.z[1]) / 2) * dy;
        return (
          <g key={disc.label} class={`disc ${disc.severity} ${disc === chosen ? "chosen" : ""}`}>
            <path d={path} transform={`matrix(${dx} 0 0 ${dy} ${x} ${y})`} vector-effect="non-scaling-stroke" />
            <text x={side} y={middle} dominant-baseline="middle" filter="url(#plate)">
              {levelName(disc)}
              {disc.level_confidence < SURE ? "?" : ""} · {disc.pfirrmann}
            </text>
          </g>
        );
      })}
      <g class="orientation">
        <text x="10" y="50%" dominant-baseline="middle">
          A
        </text>
        <text x="100%" dx="-10" y="50%" dominant-baseline="middle" text-anchor="end">
          P
        </text>
        <text x="50%" y="20" text-anchor="middle">
          H
        </text>
        <text x="50%" y="100%" dy="-10" text-anchor="middle">
          F
        </text>
      </g>
      <svg class="scale" x="12" y="100%" overflow="visible">
        <path d={`M0,-14v6h${bar}v-6`} />
        <text x={bar / 2} y="-18" text-anchor="middle">
          5 cm
        </text>
      </svg>
    </svg>
  );
}
