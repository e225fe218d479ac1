// Numbers and times as they are read.

import type { Disc } from "./contract";

export const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** Whole numbers in groups of three, apart by a narrow space as in ISO 80000. */
const grouped = (value: number): string => Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");

export const millimetres = (value: number): string => `${value.toFixed(1)} mm`;
export const squareMillimetres = (value: number): string => `${grouped(value)} mm²`;
export const cubicMillimetres = (value: number | null): string => (value === null ? "–" : `${grouped(value)} mm³`);

export const bytes = (count: number): string =>
  count < 1e6 ? `${Math.max(1, Math.round(count / 1e3))} kB` : `${(count / 1e6).toFixed(1)} MB`;

export const when = (iso: string): string =>
  new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const shortId = (id: string): string => id.slice(0, 8);

/** "Level unknown" reads better than "unknown" on its own. */
export const levelName = (disc: Disc): string => (disc.level === "unknown" ? "Unknown" : disc.level);
