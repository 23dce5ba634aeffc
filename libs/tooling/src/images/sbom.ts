import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const SPEC_VERSION = '1.6';
const SBOM_MS_MAX = 120_000;
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/** What of CycloneDX 1.6 is read or written here. */
export type Component = {
  readonly type: string;
  readonly name: string;
  readonly version: string;
  readonly group?: string;
  readonly purl: string;
  readonly 'bom-ref': string;
};
type Dependency = { readonly ref: string; readonly dependsOn?: readonly string[] };
type Sbom = {
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly Dependency[];
};

/**
 * Writes which packages an image has, as pnpm knows them from the lockfile and its store (CycloneDX 1.6): versions, hashes,
 * licences. Of the package's dependencies only those that are in the image.
 * @param folder of the package, from the root
 * @param present `name@version` of each package in the image
 * @throws when the lockfile knows nothing of one that is present
 */
export async function writeSbom(
  root: string,
  { folder, present, file }: { folder: string; present: ReadonlySet<string>; file: string },
): Promise<void> {
  const { packageManager } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    readonly packageManager: string;
  };
  const options = ['--sbom-format', 'cyclonedx', '--sbom-spec-version', SPEC_VERSION];
  const args = ['--yes', packageManager, '--filter', `./${folder}`, 'sbom', '--prod', ...options];
  const limits = { cwd: root, timeout: SBOM_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX };
  const { stdout } = await promisify(execFile)('npx', [...args, '--sbom-type', 'application'], limits);
  const sbom = JSON.parse(stdout) as Sbom;
  const components = sbom.components.filter((each) => present.has(nameOf(each)));
  const known = new Set([sbom.metadata.component, ...components].map(nameOf));
  const unknown = [...present].filter((name) => !known.has(name));
  if (unknown.length > 0) throw new Error(`${folder} has no dependency ${unknown.join(', ')}`);
  const refs = new Set([sbom.metadata.component, ...components].map((each) => each['bom-ref']));
  const dependencies = sbom.dependencies
    .filter(({ ref }) => refs.has(ref))
    .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((each) => refs.has(each)) }));
  await writeDocument(file, { component: sbom.metadata.component, components, dependencies });
}

/** Writes the document so that the same contents are the same bytes: no time, and a serial number that is their hash. */
export async function writeDocument(
  file: string,
  contents: {
    readonly component: object;
    readonly components: readonly Component[];
    readonly dependencies: readonly Dependency[];
  },
): Promise<void> {
  const components = [...contents.components].sort(by((each) => each['bom-ref']));
  const dependencies = [...contents.dependencies].sort(by(({ ref }) => ref));
  const body = { version: 1, metadata: { component: contents.component }, components, dependencies };
  const hash = createHash('sha256').update(JSON.stringify(body)).digest('hex');
  // A version 8 UUID (RFC 9562 §5.8), whose bits are our own.
  const uuid = `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
  const head = { bomFormat: 'CycloneDX', specVersion: SPEC_VERSION, serialNumber: `urn:uuid:${uuid}` };
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify({ ...head, ...body }, null, 1)}\n`);
}

function nameOf({ group, name, version }: Component): string {
  return `${group === undefined ? '' : `${group}/`}${name}@${version}`;
}

function by<T>(key: (value: T) => string): (a: T, b: T) => number {
  return (a, b) => (key(a) < key(b) ? -1 : 1);
}
