import { expect, test } from "vitest";
import type { View } from "./picture";
import { change, levelOf, type Seen, widthOf } from "./viewing";

const view: View = { slice: 4, window: { low: 0, high: 1000 }, zoom: 2, centre: [50, 60], fitted: true };
const picture: Seen = {
  start: view,
  labels: {
    slice: new Map([[3, 7]]),
    bounds: new Map([[3, { y: [10, 20], z: [30, 34] }]]),
  },
  placement: () => ({ x: 100, y: 200, dx: -2, dy: -4 }),
  sees: (seen) => seen.zoom === 1,
  clamped: (wanted) => ({ ...wanted, slice: Math.min(8, Math.max(0, wanted.slice)) }),
  around: (slice, window) => ({ slice, window, zoom: 1, centre: [0, 0], fitted: true }),
};

test("slices end at the first and the last", () => {
  expect(change(picture, view, { kind: "scroll", slices: 1 }).slice).toBe(5);
  expect(change(picture, view, { kind: "scroll", slices: 99 }).slice).toBe(8);
  expect(change(picture, view, { kind: "scroll", slices: -99 }).slice).toBe(0);
});

test("window and level change apart from each other", () => {
  const wider = change(picture, view, { kind: "window", width: 0.5, level: 0 }).window;
  expect([widthOf(wider), levelOf(wider)]).toEqual([1500, 500]);
  const brighter = change(picture, view, { kind: "window", width: 0, level: -0.1 }).window;
  expect([widthOf(brighter), levelOf(brighter)]).toEqual([1000, 400]);
});

test("a window is never empty", () => {
  expect(widthOf(change(picture, view, { kind: "window", width: -5, level: 0 }).window)).toBe(10);
});

test("what is under the pointer stays under it while it is dragged", () => {
  expect(change(picture, view, { kind: "pan", dx: 20, dy: -8 }).centre).toEqual([60, 58]);
});

test("a chosen disc that is out of sight comes to the middle, on the slice that it is measured on", () => {
  const moved = change(picture, view, { kind: "disc", label: 3 });
  expect([moved.slice, moved.centre, moved.zoom]).toEqual([7, [15, 32], 2]);
  expect(change(picture, view, { kind: "disc", label: 9 })).toBe(view);
});

test("a chosen disc that is in sight moves nothing but the slice", () => {
  expect(change(picture, { ...view, zoom: 1 }, { kind: "disc", label: 3 })).toEqual({ ...view, zoom: 1, slice: 7 });
});

test("a view that nobody moved is fitted to a canvas of another size, any other stays where it is", () => {
  const fitted = picture.around(4, view.window);
  const scrolled = change(picture, view, { kind: "scroll", slices: 1 });
  expect(change(picture, scrolled, { kind: "resized" })).toEqual({ ...fitted, slice: 5 });
  for (const gesture of [
    { kind: "zoom", factor: 2 },
    { kind: "pan", dx: 5, dy: 5 },
    { kind: "disc", label: 3 },
  ] as const) {
    const moved = change(picture, view, gesture);
    expect(change(picture, moved, { kind: "resized" })).toEqual(moved);
  }
});

test("a reset forgets everything", () => {
  const changed = change(picture, view, { kind: "set window", window: { low: 5, high: 6 } });
  expect(change(picture, changed, { kind: "reset" })).toEqual({ ...view, zoom: 1, centre: [0, 0] });
});
