import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeContext } from '../../../../libs/tooling/src/images/write-context.ts';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));

/** Writes what the sidecar's image holds. @returns the file of its program */
export async function writeSidecarImage(folder: string): Promise<string> {
  await writeContext(ROOT, 'sidecar', join(folder, 'image'));
  return join(folder, 'image/app/main.js');
}
