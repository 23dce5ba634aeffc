/**
 * Prints what docs/images.md says of sizes and start times: `node libs/cli/test/images/main.ts [--starts 5]`. Builds what has not
 * been built.
 */
import { parseArgs } from 'node:util';
import { IMAGE_NAMES } from '../../../tooling/src/images/write-context.ts';
import { baseOf, builtImage } from './built-images.ts';
import { containerEngine } from './container-engine.ts';
import { imageBytes } from './image-contents.ts';
import { measureStart, type Start } from './measure-start.ts';

const { values } = parseArgs({ options: { starts: { type: 'string', default: '5' } } });
const engine = await containerEngine();
if (engine === null) process.exit(1);
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
for (const name of IMAGE_NAMES) {
  const bytes = await imageBytes(engine, await builtImage(engine, name));
  const base = await baseOf(engine, name);
  const added =
    base === undefined ? '' : `, ${megabytes(bytes - (await imageBytes(engine, base)))} more than its base`;
  console.log(`${name}: ${megabytes(bytes)}${added}`);
}
const image = await builtImage(engine, 'sidecar');
const starts: Start[] = [];
for (let each = 0; each < Number(values.starts); each++) starts.push(await measureStart(engine, image));
for (const key of ['wholeMs', 'ownMs', 'processorMs'] as const) {
  const sorted = starts.map((start) => Math.round(start[key])).sort((a, b) => a - b);
  console.log(`${key}: ${sorted.join(', ')}`);
}
