// Everything that the mouse does to the picture, as controls.

import type { ComponentChildren } from "preact";
import type { Picture, View } from "./picture";
import { around, type Gesture, levelOf, widthOf } from "./viewing";

export type Tool = "window" | "pan" | "scroll";

const TOOLS: readonly [Tool, string][] = [
  ["window", "Window and level"],
  ["pan", "Move"],
  ["scroll", "Slices"],
];

interface Props {
  picture: Picture;
  view: View;
  act: (gesture: Gesture) => void;
  outlined: boolean;
  setOutlined: (outlined: boolean) => void;
  tool: Tool;
  setTool: (tool: Tool) => void;
}

export function Controls({ picture, view, act, outlined, setOutlined, tool, setTool }: Props) {
  const usual = widthOf(picture.start.window);
  const number = (
    name: string,
    value: number,
    least: number,
    set: (value: number) => void,
  ): ComponentChildren => (
    <label class="field">
      {name}
      <input
        type="number"
        value={Math.round(value * 100) / 100}
        min={least}
        step={usual > 50 ? Math.max(1, Math.round(usual / 50)) : "any"}
        onChange={(event) => {
          const wanted = event.currentTarget.valueAsNumber;
          if (Number.isFinite(wanted) && wanted >= least) set(wanted);
        }}
      />
    </label>
  );
  const [width, level] = [widthOf(view.window), levelOf(view.window)];
  return (
    <div class="controls">
      <label class="field slices">
        <span>
          Slice {view.slice + 1} of {picture.slices}
        </span>
        <input
          type="range"
          min={1}
          max={picture.slices}
          value={view.slice + 1}
          disabled={picture.slices === 1}
          aria-valuetext={`Slice ${view.slice + 1} of ${picture.slices}, counted from the patient's right`}
          onInput={(event) => act({ kind: "slice", slice: event.currentTarget.valueAsNumber - 1 })}
        />
      </label>
      <div class="field-row">
        {number("Window", width, usual / 100, (value) => act({ kind: "set window", window: around(level, value) }))}
        {number("Level", level, -1e9, (value) => act({ kind: "set window", window: around(value, width) }))}
        <label class="field">
          Drag
          <select value={tool} onChange={(event) => setTool(event.currentTarget.value as Tool)}>
            {TOOLS.map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label class="check">
          <input
            type="checkbox"
            checked={outlined}
            onChange={(event) => setOutlined(event.currentTarget.checked)}
          />
          Outlines
        </label>
        <span class="button-group">
          <button type="button" onClick={() => act({ kind: "zoom", factor: 0.8 })} aria-label="Smaller">
            −
          </button>
          <button type="button" onClick={() => act({ kind: "zoom", factor: 1.25 })} aria-label="Larger">
            +
          </button>
          <button type="button" onClick={() => act({ kind: "reset" })}>
            Reset
          </button>
        </span>
      </div>
      <details class="keys">
        <summary>Mouse and keys</summary>
        <p id="viewer-keys">
          Wheel or arrow keys: slices. Drag or Shift with arrow keys: window (left, right) and level (up, down). Shift and
          drag: move. Ctrl and wheel, + and −: size. Double click or 0: as at first. O: outlines. Click a disc to choose
          it.
        </p>
      </details>
    </div>
  );
}
