import { execFile } from 'node:child_process';
import { access, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import type { BuildOptions } from './build-options.ts';

const run = promisify(execFile);

type Manifest = {
  readonly name: string;
  readonly version: string;
  readonly description?: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
};

/** Contracts that applications call, as sub-paths of the package. */
const STUBS = ['inference', 'embeddings', 'orchestration', 'health'] as const;
const CONTRACTS = '@gatehouse/contracts/';
/** What the emitted code imports; the versions are those of the workspace's catalog, and what is compatible with them. */
const DEPENDENCIES = ['@bufbuild/protobuf', '@grpc/grpc-js'] as const;

/**
 * Compiles the client kit and the generated stubs into one package without any other of the workspace's.
 * @returns the packed file
 */
export async function buildNpmPackage({ root, out, env }: BuildOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-client-'));
  try {
    const client = await manifestOf(join(root, 'libs/client'));
    const contracts = await manifestOf(join(root, 'libs/contracts'));
    await compile({ root, folder, contracts });
    await rewriteImports(join(folder, 'dist'), contracts);
    await writeFile(
      join(folder, 'package.json'),
      `${JSON.stringify(await publishedManifest(root, client, contracts), null, 2)}\n`,
    );
    await cp(join(root, 'LICENSE'), join(folder, 'LICENSE'));
    await cp(join(root, 'libs/client/README.md'), join(folder, 'README.md'));
    await mkdir(out, { recursive: true });
    const options = { cwd: folder, env: { ...env } };
    const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', out], options);
    return join(out, stdout.trim());
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function manifestOf(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;
}

async function compile({
  root,
  folder,
  contracts,
}: {
  readonly root: string;
  readonly folder: string;
  readonly contracts: Manifest;
}): Promise<void> {
  const config = join(folder, 'tsconfig.json');
  const source = join(root, 'libs/contracts/src');
  const stubs = STUBS.map((name) => join(root, 'libs/contracts', contracts.exports[`./${name}`] ?? ''));
  // Every file by name: what the compiler meets first through node_modules it takes for somebody else's, and leaves out.
  const shared = ['any', 'duration', 'struct'].map((name) => join(source, `gen/google/protobuf/${name}.ts`));
  const details = ['status', 'error_details'].map((name) => join(source, `gen/google/rpc/${name}.ts`));
  const own = ['status-details', 'contract-version'].map((name) => join(source, `${name}.ts`));
  const sources = [...stubs, ...shared, ...details, ...own];
  await writeFile(
    config,
    JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        noEmit: false,
        declaration: true,
        rewriteRelativeImportExtensions: true,
        rootDir: join(root, 'libs'),
        outDir: join(folder, 'dist'),
        typeRoots: [join(root, 'node_modules/@types')],
      },
      include: [],
      files: [join(root, 'libs/client/src/index.ts'), ...sources],
    }),
  );
  await run(join(root, 'node_modules/.bin/tsc'), ['-p', config]);
  await rm(config);
  for (const file of sources)
    await access(scriptOf(join(folder, 'dist', relative(join(root, 'libs'), file))));
}

/** Imports of the workspace's contracts become relative ones: the package brings them along. */
async function rewriteImports(dist: string, contracts: Manifest): Promise<void> {
  for (const entry of await readdir(join(dist, 'client/src'), { withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith('.json')) continue;
    const file = join(entry.parentPath, entry.name);
    const text = await readFile(file, 'utf8');
    const rewritten = text.replaceAll(/'@gatehouse\/contracts\/([\w-]+)'/g, (_, name: string) => {
      const target = join(dist, 'contracts', scriptOf(contracts.exports[`./${name}`] ?? ''));
      return `'${relative(dirname(file), target)}'`;
    });
    if (rewritten.includes(CONTRACTS)) throw new Error(`${file} still imports the workspace's contracts`);
    await writeFile(file, rewritten);
  }
}

async function publishedManifest(root: string, client: Manifest, contracts: Manifest): Promise<object> {
  const { name, version, description, license } = client;
  const entry = (script: string): object => ({ types: script.replace(/\.js$/, '.d.ts'), default: script });
  const stubs = STUBS.map((stub): [string, object] => [
    `./${stub}`,
    entry(`./${join('dist/contracts', scriptOf(contracts.exports[`./${stub}`] ?? ''))}`),
  ]);
  return {
    name,
    version,
    description,
    license,
    type: 'module',
    engines: { node: '>=20.18' },
    exports: Object.fromEntries([['.', entry('./dist/client/src/index.js')], ...stubs]),
    files: ['dist'],
    dependencies: await catalogVersions(root),
  };
}

async function catalogVersions(root: string): Promise<Record<string, string>> {
  const workspace = await readFile(join(root, 'pnpm-workspace.yaml'), 'utf8');
  return Object.fromEntries(
    DEPENDENCIES.map((name) => {
      const version = new RegExp(`^ {2}"?${name}"?: \\^?([\\d.]+)$`, 'm').exec(workspace)?.[1];
      if (version === undefined)
        throw new Error(`pnpm-workspace.yaml: catalog: expected a version of ${name}`);
      return [name, `^${version}`];
    }),
  );
}

function scriptOf(source: string): string {
  return source.replace(/\.ts$/, '.js');
}
