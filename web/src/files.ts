// Files of a study, from a picker or dropped, folders included.

/** Files that file managers leave in folders; nobody means to send them. */
const isHousekeeping = (name: string): boolean => name.startsWith(".") || name === "Thumbs.db" || name === "desktop.ini";

export const worthSending = (files: Iterable<File>): File[] =>
  [...files].filter((file) => !isHousekeeping(file.name) && file.size > 0);

/** The files that were dropped, with those of dropped folders. Must be called while the event is being handled. */
export async function droppedFiles(data: DataTransfer): Promise<File[]> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const found = entries.length > 0 ? (await Promise.all(entries.map(filesBelow))).flat() : [...data.files];
  return worthSending(found);
}

async function filesBelow(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) {
    return [await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const files: File[] = [];
  for (;;) {
    // A reader gives some entries at a time, and none at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return files;
    for (const below of some) files.push(...(await filesBelow(below)));
  }
}
