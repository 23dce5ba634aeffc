/**
 * Writes the build context of an image: `node libs/tooling/src/images/main.ts [--of sidecar] [--out FOLDER]`, of the sidecar or a
 * service. Then `buildah bud --build-arg BASE=an-image-with-node FOLDER`. Prints the folder.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundleSidecar } from './bundle-sidecar.ts';
import { packService } from './pack-service.ts';

const NAMES = ['sidecar', 'inference', 'embeddings', 'orchestration'];
const root = fileURLToPath(new URL('../../../..', import.meta.url));
const { values } = parseArgs({
  options: { of: { type: 'string', default: 'sidecar' }, out: { type: 'string' } },
});
const { of: name } = values;
if (!NAMES.includes(name)) {
  process.stderr.write(`images: ${name}: expected one of ${NAMES.join(', ')}\n`);
  process.exit(2);
}
const out = resolve(values.out ?? resolve(root, '.gatehouse/images', name));
if (values.out === undefined) await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
if ((await readdir(out)).length > 0) {
  process.stderr.write(`images: ${out} is not empty; give a folder that is\n`);
  process.exit(2);
}
if (name === 'sidecar') await bundleSidecar(root, out);
else await packService(root, name, out);
process.stdout.write(`${out}\n`);
