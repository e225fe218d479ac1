// Outlines of discs from the label image, one sagittal slice at a time.

import { contours } from "d3-contour";

type Range = [number, number];

/** Columns y and rows z that hold something, the second of each just beyond it. */
export interface Bounds {
  y: Range;
  z: Range;
}

/**
 * A label image in RAS order: x to the patient's right, y to the front, z to the head, x fastest.
 * Slices are counted from the patient's right, as on the overlay picture.
 */
export class Labels {
  /** The slice nearest the middle of each disc, of those on which it is seen: the one that it is measured on. */
  readonly slice: ReadonlyMap<number, number>;
  /** Where each disc lies, whatever the slice. */
  readonly bounds: ReadonlyMap<number, Bounds>;
  private readonly kept = new Map<number, ReadonlyMap<number, string>>();

  constructor(
    private readonly voxels: ArrayLike<number>,
    private readonly dims: readonly [number, number, number],
  ) {
    const [nx, ny, nz] = dims;
    const counts = new Map<number, number[]>();
    const bounds = new Map<number, Bounds>();
    let index = 0;
    for (let z = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++) {
        for (let x = 0; x < nx; x++) {
          const label = voxels[index++];
          if (!label) continue;
          const seen = counts.get(label) ?? new Array<number>(nx).fill(0);
          seen[nx - 1 - x] = (seen[nx - 1 - x] ?? 0) + 1;
          counts.set(label, seen);
          bounds.set(label, joined(bounds.get(label), { y: [y, y + 1], z: [z, z + 1] }));
        }
      }
    }
    this.bounds = bounds;
    this.slice = new Map([...counts].map(([label, seen]) => [label, middleOf(seen)]));
  }

  get slices(): number {
    return this.dims[0];
  }

  /** Where all discs lie together; all of the slice where there is none. */
  get extent(): Bounds {
    const [, ny, nz] = this.dims;
    return [...this.bounds.values()].reduce<Bounds | undefined>(joined, undefined) ?? { y: [0, ny], z: [0, nz] };
  }

  at(slice: number, y: number, z: number): number {
    const [nx, ny, nz] = this.dims;
    const x = nx - 1 - slice;
    if (x < 0 || x >= nx || y < 0 || y >= ny || z < 0 || z >= nz) return 0;
    return this.voxels[x + nx * (y + ny * z)] ?? 0;
  }

  /** Outlines on a slice, by label: SVG path data in columns y and rows z of pixels. */
  outlines(slice: number): ReadonlyMap<number, string> {
    const before = this.kept.get(slice);
    if (before) return before;
    const made = this.trace(slice);
    this.kept.set(slice, made);
    return made;
  }

  private trace(slice: number): Map<number, string> {
    const [, ny, nz] = this.dims;
    const boxes = new Map<number, [number, number, number, number]>();
    for (let z = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++) {
        const label = this.at(slice, y, z);
        if (!label) continue;
        const [y0, z0, y1, z1] = boxes.get(label) ?? [y, z, y, z];
        boxes.set(label, [Math.min(y0, y), Math.min(z0, z), Math.max(y1, y), Math.max(z1, z)]);
      }
    }
    const paths = new Map<number, string>();
    for (const [label, [y0, z0, y1, z1]] of boxes) {
      const [left, top, width, height] = [y0 - 2, z0 - 2, y1 - y0 + 5, z1 - z0 + 5];
      const inside = (y: number, z: number): number => (this.at(slice, left + y, top + z) === label ? 1 : 0);
      // A binomial blur before the one-half contour takes the stairs off the pixels' edges and moves none of them.
      const values = Array.from({ length: width * height }, (_, index) => {
        const [y, z] = [index % width, Math.floor(index / width)];
        const row = (dz: number): number => inside(y - 1, z + dz) + 2 * inside(y, z + dz) + inside(y + 1, z + dz);
        return (row(-1) + 2 * row(0) + row(1)) / 16;
      });
      const [shape] = contours().size([width, height]).thresholds([0.5])(values);
      const rings = shape?.coordinates.flat() ?? [];
      paths.set(label, rings.map((ring) => pathOf(ring, left, top)).join(""));
    }
    return paths;
  }
}

function joined(one: Bounds | undefined, other: Bounds): Bounds {
  if (!one) return other;
  const along = (axis: "y" | "z"): Range => [
    Math.min(one[axis][0], other[axis][0]),
    Math.max(one[axis][1], other[axis][1]),
  ];
  return { y: along("y"), z: along("z") };
}

function middleOf(counts: readonly number[]): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const middle = counts.reduce((sum, count, slice) => sum + count * slice, 0) / total;
  const seen = [...counts.keys()].filter((slice) => (counts[slice] ?? 0) > 0);
  return seen.reduce((best, slice) => (Math.abs(slice - middle) < Math.abs(best - middle) ? slice : best));
}

const pathOf = (ring: readonly number[][], left: number, top: number): string =>
  `M${ring.map(([y = 0, z = 0]) => `${round(y + left)},${round(z + top)}`).join("L")}Z`;

const round = (value: number): number => Math.round(value * 100) / 100;
