// What dcmjs, the reader of OHIF's viewer, finds in a segmentation and a report: node read.mjs SEG SR, answers in JSON.

import fs from "node:fs";
import dcmjs from "dcmjs";

const { BitArray, DicomMessage, DicomMetaDictionary } = dcmjs.data;

function read(path) {
  const { buffer, byteOffset, byteLength } = fs.readFileSync(path);
  return DicomMetaDictionary.naturalizeDataset(DicomMessage.readFile(buffer.slice(byteOffset, byteOffset + byteLength)).dict);
}

const items = (sequence) => (sequence === undefined ? [] : [sequence].flat());
const only = (sequence) => items(sequence)[0];

/** By segment number: its label, and the places of its voxels in mm, LPS (PS3.3 C.7.6.2.1.1). */
function segments(seg) {
  const found = {};
  for (const { SegmentNumber, SegmentLabel } of items(seg.SegmentSequence)) {
    found[SegmentNumber] = { label: SegmentLabel, places: [] };
  }
  const shared = only(seg.SharedFunctionalGroupsSequence);
  const cosines = only(shared.PlaneOrientationSequence).ImageOrientationPatient.map(Number);
  const [down, across] = only(shared.PixelMeasuresSequence).PixelSpacing.map(Number);
  const bits = BitArray.unpack(only(seg.PixelData));
  const size = seg.Rows * seg.Columns;
  items(seg.PerFrameFunctionalGroupsSequence).forEach((groups, frame) => {
    const segment = only(groups.SegmentIdentificationSequence ?? shared.SegmentIdentificationSequence);
    const corner = only(groups.PlanePositionSequence).ImagePositionPatient.map(Number);
    for (let at = 0; at < size; at++) {
      if (bits[frame * size + at] === 0) continue;
      const [x, y] = [(at % seg.Columns) * across, Math.floor(at / seg.Columns) * down];
      found[segment.ReferencedSegmentNumber].places.push(corner.map((mm, axis) => mm + x * cosines[axis] + y * cosines[axis + 3]));
    }
  });
  return found;
}

const meaning = (item) => only(item.ConceptNameCodeSequence)?.CodeMeaning;

/** Each measurement group: by the name of a content item its number, the value of its code, or its segment. */
function groups(sr) {
  const measurements = items(sr.ContentSequence).find((item) => meaning(item) === "Imaging Measurements");
  return items(measurements.ContentSequence).map((group) =>
    Object.fromEntries(
      items(group.ContentSequence).map((item) => [
        meaning(item),
        {
          NUM: () => Number(only(item.MeasuredValueSequence).NumericValue),
          CODE: () => only(item.ConceptCodeSequence).CodeValue,
          IMAGE: () => only(item.ReferencedSOPSequence).ReferencedSegmentNumber,
        }[item.ValueType]?.() ?? null,
      ]),
    ),
  );
}

const [seg, sr] = process.argv.slice(2).map(read);
process.stdout.write(JSON.stringify({ segments: segments(seg), groups: groups(sr) }));
