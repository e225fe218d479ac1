import { expect, test } from "vitest";
import { Labels } from "./outlines";

const DIMS: [number, number, number] = [5, 40, 30];

/** A box of label 2 on the slices x = 1 to 3, of which x = 3 holds most. */
function box(): Uint8Array {
  const [nx, ny] = DIMS;
  const voxels = new Uint8Array(DIMS[0] * DIMS[1] * DIMS[2]);
  for (let x = 1; x <= 3; x++) {
    for (let y = 10; y < 10 + 6 * x; y++) {
      for (let z = 8; z < 16; z++) voxels[x + nx * (y + ny * z)] = 2;
    }
  }
  return voxels;
}

const numbers = (path: string): number[] => [...path.matchAll(/-?[\d.]+/g)].map(Number);

test("slices are counted from the patient's right", () => {
  const labels = new Labels(box(), DIMS);
  expect(labels.at(1, 12, 10)).toBe(2); // x = 3
  expect(labels.at(0, 12, 10)).toBe(0); // x = 4
  expect([labels.at(-1, 12, 10), labels.at(1, -1, 10), labels.at(1, 12, 30)]).toEqual([0, 0, 0]);
});

test("a disc's slice is the one nearest its middle", () => {
  expect(new Labels(box(), DIMS).slice.get(2)).toBe(2);
});

test("bounds are those of all slices together", () => {
  const labels = new Labels(box(), DIMS);
  expect(labels.bounds.get(2)).toEqual({ y: [10, 28], z: [8, 16] });
  expect(labels.extent).toEqual({ y: [10, 28], z: [8, 16] });
  expect(new Labels(new Uint8Array(6000), DIMS).extent).toEqual({ y: [0, 40], z: [0, 30] });
});

test("an outline runs along the edge of its pixels", () => {
  const path = new Labels(box(), DIMS).outlines(2).get(2) ?? ""; // x = 2: columns 10 to 22, rows 8 to 16
  const values = numbers(path);
  const columns = values.filter((_, index) => index % 2 === 0);
  const rows = values.filter((_, index) => index % 2 === 1);
  const found = [Math.min(...columns), Math.max(...columns), Math.min(...rows), Math.max(...rows)];
  [10, 22, 8, 16].forEach((edge, index) => expect(found[index]).toBeCloseTo(edge, 1));
});

test("a slice without discs has no outline", () => {
  expect(new Labels(box(), DIMS).outlines(0).size).toBe(0);
});

test("a disc at the edge of the image has an outline that is closed", () => {
  const voxels = new Uint8Array(DIMS[0] * DIMS[1] * DIMS[2]);
  for (let y = 0; y < 5; y++) for (let z = 0; z < 5; z++) voxels[2 + 5 * (y + 40 * z)] = 1;
  const path = new Labels(voxels, DIMS).outlines(2).get(1) ?? "";
  expect(path.match(/M/g)).toHaveLength(1);
  expect(Math.min(...numbers(path))).toBeCloseTo(0, 1);
});
