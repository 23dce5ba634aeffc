import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Writes a file so that a reader sees the old content or the new, never a part. Mode 0600. */
export async function writeFileAtomically(file: string, content: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const written = `${file}.new`;
  await writeFile(written, content, { mode: 0o600 });
  await rename(written, file);
}
