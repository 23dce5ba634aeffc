/**
 * Writes what an image is built from, or builds it:
 *
 *   node libs/tooling/src/images/main.ts --of NAME [--out FOLDER]
 *   node libs/tooling/src/images/main.ts --of NAME --build REFERENCE --base REFERENCE [--revision COMMIT] [--epoch SECONDS]
 *
 * Prints the folder, or the image's id. Buildah builds.
 */
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildImage } from './build-image.ts';
import { IMAGE_NAMES, writeContext } from './write-context.ts';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: { of: text, out: text, build: text, base: text, revision: text, epoch: text },
});

function refuse(sentence: string): never {
  process.stderr.write(`images: ${sentence}\n`);
  process.exit(2);
}

const name = values.of ?? refuse('expected --of NAME');
if (!IMAGE_NAMES.includes(name)) refuse(`${name}: expected one of ${IMAGE_NAMES.join(', ')}`);
if (values.build === undefined) {
  const out = resolve(values.out ?? resolve(root, '.gatehouse/images', name));
  if (values.out === undefined) await rm(out, { recursive: true, force: true });
  await writeContext(root, name, out).catch((error: Error) => refuse(error.message));
  process.stdout.write(`${out}\n`);
} else {
  const epochS = Number(values.epoch ?? 0);
  if (!Number.isSafeInteger(epochS) || epochS < 0) refuse('--epoch: expected whole seconds since 1970');
  if (values.base === undefined && !name.endsWith('base')) refuse('expected --base, an image with Node 26');
  const { build: reference, base, revision } = values;
  process.stdout.write(`${await buildImage(root, { name, reference, base, revision, epochS })}\n`);
}
