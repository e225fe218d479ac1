// Sagittal slices on a canvas, drawn by NiiVue; and where on the canvas their pixels lie.

import { Niivue, NVImage, SLICE_TYPE } from "@niivue/niivue";
import { type Bounds, Labels } from "./outlines";

/** Grey values shown as black and as white. */
export interface Window {
  low: number;
  high: number;
}

/** What is shown: slices are counted from the patient's right; the centre is a column y and a row z of pixels. */
export interface View {
  slice: number;
  window: Window;
  zoom: number;
  centre: [number, number];
  /** Whether it is fitted to the discs and the canvas, and nobody has moved or enlarged it since. */
  fitted: boolean;
}

/** Where pixels lie: the column y is at `x + y * dx` CSS pixels from the left, the row z at `y + z * dy` from the top. */
export interface Placement {
  x: number;
  y: number;
  dx: number;
  dy: number;
}

/** Around the discs, as much is shown at first as on the overlay picture. */
const MARGIN_MM = 45;
const WHITE_SHARE = 0.995;

export class Picture {
  readonly labels: Labels;
  /** Width and height of a slice in pixels, and of a pixel in mm. */
  readonly size: [number, number];
  readonly spacing: [number, number];
  readonly start: View;

  private constructor(
    private readonly viewer: Niivue,
    private readonly canvas: HTMLCanvasElement,
    private readonly volume: NVImage,
    labels: NVImage,
  ) {
    const [, nx = 1, ny = 1, nz = 1] = volume.dimsRAS ?? [];
    const [, , dy = 1, dz = 1] = volume.pixDimsRAS ?? [];
    this.labels = new Labels(labels.img2RAS(), [nx, ny, nz]);
    this.size = [ny, nz];
    this.spacing = [dy, dz];
    this.start = this.firstView();
  }

  /**
   * @throws Error where the browser has no WebGL 2, or the images cannot be read.
   */
  static async open(canvas: HTMLCanvasElement, image: ArrayBuffer, labels: ArrayBuffer): Promise<Picture> {
    const viewer = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairWidth: 0,
      dragAndDropEnabled: false,
      interactive: false, // the page's own mouse and keys: discs are picked, and everything can be done by key
      isOrientationTextVisible: false,
      isResizeCanvas: false,
      loadingText: "",
      logLevel: "error",
      sagittalNoseLeft: true,
      sliceType: SLICE_TYPE.SAGITTAL,
    });
    await viewer.attachToCanvas(canvas, false);
    const [volume, marks] = await Promise.all([
      NVImage.loadFromUrl({ url: image, name: "image.nii.gz" }),
      NVImage.loadFromUrl({ url: labels, name: "segmentation.nii.gz" }),
    ]);
    viewer.addVolume(volume);
    return new Picture(viewer, canvas, volume, marks);
  }

  get slices(): number {
    return this.labels.slices;
  }

  /** Give back the graphics card's memory. */
  close(): void {
    this.viewer.cleanup();
    this.viewer.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  draw(view: View): void {
    this.fit();
    const { volume, viewer } = this;
    if (volume.cal_min !== view.window.low || volume.cal_max !== view.window.high) {
      volume.cal_min = view.window.low;
      volume.cal_max = view.window.high;
      viewer.updateGLVolume();
    }
    viewer.scene.crosshairPos = [(this.slices - 1 - view.slice + 0.5) / this.slices, 0.5, 0.5];
    viewer.setPan2Dxyzmm([0, 0, 0, view.zoom]);
    const { x, y, dx, dy } = this.placement();
    // Pixels of the canvas by which the wished centre is off, in mm of the slice.
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const columns = (width / 2 - (x + view.centre[0] * dx)) / dx;
    const rows = (height / 2 - (y + view.centre[1] * dy)) / dy;
    viewer.setPan2Dxyzmm([0, columns * this.spacing[0] * view.zoom, rows * this.spacing[1] * view.zoom, view.zoom]);
  }

  /** Where the pixels of the slice lie now. */
  placement(): Placement {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [, left = 0, top = 0] = this.viewer.screenXY2TextureFrac(0, 0, 0, false);
    const corner = this.viewer.screenXY2TextureFrac(this.canvas.width, this.canvas.height, 0, false);
    const [, right = 1, bottom = 1] = corner;
    const dx = width / ((right - left) * this.size[0]);
    const dy = height / ((bottom - top) * this.size[1]);
    return { x: -left * this.size[0] * dx, y: -top * this.size[1] * dy, dx, dy };
  }

  /** How many CSS pixels a pixel of the slice is high when all of the slice is seen. */
  private fittingScale(): number {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return Math.min(width / (this.size[0] * this.spacing[0]), height / (this.size[1] * this.spacing[1]));
  }

  /** The nearest centre at which nothing beside the slice is shown, but where the slice is smaller than the canvas. */
  clamped(view: View): View {
    const zoom = Math.min(12, Math.max(1, view.zoom));
    const scale = this.fittingScale() * zoom;
    const along = (axis: 0 | 1, shown: number): number => {
      const half = shown / (scale * this.spacing[axis]) / 2;
      const whole = this.size[axis];
      return 2 * half >= whole ? whole / 2 : Math.min(whole - half, Math.max(half, view.centre[axis]));
    };
    const centre: [number, number] = [along(0, this.canvas.clientWidth), along(1, this.canvas.clientHeight)];
    const slice = Math.min(this.slices - 1, Math.max(0, view.slice));
    return { ...view, slice, zoom, centre };
  }

  /** Whether all of a part of a slice lies on the canvas. */
  sees(view: View, part: Bounds): boolean {
    const scale = this.fittingScale() * view.zoom;
    const within = (axis: 0 | 1, shown: number, [first, last]: [number, number]): boolean => {
      const half = shown / (scale * this.spacing[axis]) / 2;
      return first >= view.centre[axis] - half && last <= view.centre[axis] + half;
    };
    return within(0, this.canvas.clientWidth, part.y) && within(1, this.canvas.clientHeight, part.z);
  }

  /** All of the discs, with some of what is around them. */
  around(slice: number, window: Window): View {
    const bounds = this.labels.extent;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const extent = (range: [number, number], axis: 0 | 1): number =>
      Math.min(this.size[axis], range[1] - range[0] + (2 * MARGIN_MM) / this.spacing[axis]) * this.spacing[axis];
    const scale = Math.min(width / extent(bounds.y, 0), height / extent(bounds.z, 1));
    const centre: [number, number] = [(bounds.y[0] + bounds.y[1]) / 2, (bounds.z[0] + bounds.z[1]) / 2];
    return this.clamped({ slice, window, centre, zoom: scale / this.fittingScale(), fitted: true });
  }

  private firstView(): View {
    const slices = [...this.labels.slice.values()].sort((a, b) => a - b);
    const slice = slices[Math.floor(slices.length / 2)] ?? Math.floor(this.slices / 2);
    this.fit();
    return this.around(slice, this.usualWindow(slice));
  }

  /** Black to white as a reader would set it: fat near the coil may saturate, discs may not. */
  private usualWindow(slice: number): Window {
    const grey = this.volume.img2RAS();
    const bounds = this.labels.extent;
    const [ny, nz] = this.size;
    const [marginY, marginZ] = this.spacing.map((mm) => Math.round(MARGIN_MM / mm)) as [number, number];
    const values: number[] = [];
    for (let z = Math.max(0, bounds.z[0] - marginZ); z < Math.min(nz, bounds.z[1] + marginZ); z++) {
      for (let y = Math.max(0, bounds.y[0] - marginY); y < Math.min(ny, bounds.y[1] + marginY); y++) {
        values.push(grey[this.slices - 1 - slice + this.slices * (y + ny * z)] ?? 0);
      }
    }
    const sorted = Float32Array.from(values).sort();
    const { scl_slope: slope, scl_inter: intercept } = this.volume.hdr ?? { scl_slope: 1, scl_inter: 0 };
    const real = (value: number): number => value * (slope || 1) + intercept;
    const low = Math.min(real(sorted[0] ?? 0), real(0));
    const high = real(sorted[Math.floor(WHITE_SHARE * (sorted.length - 1))] ?? 1);
    return { low, high: high > low ? high : low + 1 };
  }

  private fit(): void {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
    if (width === undefined || height === undefined) return;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.viewer.gl.viewport(0, 0, width, height);
    }
  }
}
