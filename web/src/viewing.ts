// What mouse, wheel and keys do to the view. Pure, so that it can be tested without a browser.

import type { Bounds } from "./outlines";
import type { Placement, View, Window } from "./picture";

export type Gesture =
  | { kind: "scroll"; slices: number }
  | { kind: "slice"; slice: number }
  /** In shares of the usual window. */
  | { kind: "window"; width: number; level: number }
  | { kind: "set window"; window: Window }
  | { kind: "zoom"; factor: number }
  /** In CSS pixels. */
  | { kind: "pan"; dx: number; dy: number }
  | { kind: "disc"; label: number }
  | { kind: "resized" }
  | { kind: "reset" };

/** What of the picture a gesture needs to know. */
export interface Seen {
  readonly start: View;
  readonly labels: {
    readonly slice: ReadonlyMap<number, number>;
    readonly bounds: ReadonlyMap<number, Bounds>;
  };
  placement(): Placement;
  clamped(view: View): View;
  sees(view: View, part: Bounds): boolean;
  around(slice: number, window: Window): View;
}

export function change(picture: Seen, view: View, gesture: Gesture): View {
  switch (gesture.kind) {
    case "scroll":
      return picture.clamped({ ...view, slice: view.slice + gesture.slices });
    case "slice":
      return picture.clamped({ ...view, slice: gesture.slice });
    case "window": {
      const usual = picture.start.window.high - picture.start.window.low;
      const width = Math.max(usual / 100, widthOf(view.window) + gesture.width * usual);
      return { ...view, window: around(levelOf(view.window) + gesture.level * usual, width) };
    }
    case "set window":
      return { ...view, window: gesture.window };
    case "zoom":
      return picture.clamped({ ...view, zoom: view.zoom * gesture.factor, fitted: false });
    case "pan": {
      const { dx, dy } = picture.placement();
      const [y, z] = view.centre;
      return picture.clamped({ ...view, centre: [y - gesture.dx / dx, z - gesture.dy / dy], fitted: false });
    }
    case "disc": {
      const bounds = picture.labels.bounds.get(gesture.label);
      const slice = picture.labels.slice.get(gesture.label);
      if (!bounds || slice === undefined) return view;
      if (picture.sees(view, bounds)) return picture.clamped({ ...view, slice }); // so that its neighbours stay in sight
      const middle = (range: [number, number]): number => (range[0] + range[1]) / 2;
      return picture.clamped({ ...view, slice, centre: [middle(bounds.y), middle(bounds.z)], fitted: false });
    }
    case "resized":
      return view.fitted ? picture.around(view.slice, view.window) : picture.clamped({ ...view });
    case "reset":
      return picture.around(picture.start.slice, picture.start.window);
  }
}

export const widthOf = (window: Window): number => window.high - window.low;
export const levelOf = (window: Window): number => (window.high + window.low) / 2;
export const around = (level: number, width: number): Window => ({ low: level - width / 2, high: level + width / 2 });
