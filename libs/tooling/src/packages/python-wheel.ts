import { execFile } from 'node:child_process';
import { access, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { BuildOptions } from './build-options.ts';
import { NOT_FOR_STUBS, SERVICES } from './stub-sources.ts';

const run = promisify(execFile);

/** Generates messages, stubs and their types, and packs them. */
const BUILDERS = ['grpcio-tools==1.85.1', 'setuptools==80.9.0', 'wheel==0.45.1'];
const STEP_MS_MAX = 300_000;
/** buf alone can leave types out of a set, and only on its way to a plugin. */
const PLUGIN = fileURLToPath(new URL('keep_descriptors.py', import.meta.url));

/**
 * Generates Python stubs from the protos and packs them, with the client kit, into a wheel.
 * @returns the wheel's file
 */
export async function buildPythonWheel({ root, out, env }: BuildOptions): Promise<string> {
  const python = await builderPython(env);
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-wheel-'));
  try {
    const sources = join(folder, 'src');
    await mkdir(sources);
    await generate({ root, folder, sources, python });
    await addClientKit(root, sources);
    const { version } = JSON.parse(await readFile(join(root, 'libs/client/package.json'), 'utf8')) as {
      readonly version: string;
    };
    await writeFile(join(folder, 'pyproject.toml'), project(version));
    await cp(join(root, 'LICENSE'), join(folder, 'LICENSE'));
    await mkdir(out, { recursive: true });
    const before = new Set(await readdir(out));
    const pip = [
      '-m',
      'pip',
      'wheel',
      '--quiet',
      '--no-deps',
      '--no-build-isolation',
      '--wheel-dir',
      out,
      folder,
    ];
    await run(python, pip, { timeout: STEP_MS_MAX });
    const wheels = (await readdir(out)).filter((name) => name.endsWith('.whl'));
    const wheel = wheels.find((name) => !before.has(name)) ?? wheels[0];
    if (wheel === undefined) throw new Error('pip made no wheel');
    return join(out, wheel);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function generate({
  root,
  folder,
  sources,
  python,
}: {
  readonly root: string;
  readonly folder: string;
  readonly sources: string;
  readonly python: string;
}): Promise<void> {
  const template = JSON.stringify({
    version: 'v2',
    inputs: [{ directory: root, exclude_types: NOT_FOR_STUBS }],
    plugins: [{ local: [python, PLUGIN], out: folder, strategy: 'all', include_imports: true }],
  });
  await run(join(root, 'node_modules/.bin/buf'), ['generate', '--template', template], { cwd: root });
  const image = join(folder, 'contracts.binpb');
  await writeFile(image, Buffer.from(await readFile(join(folder, 'contracts.base64'), 'utf8'), 'base64'));
  await run(
    python,
    [
      '-m',
      'grpc_tools.protoc',
      `--descriptor_set_in=${image}`,
      `--python_out=${sources}`,
      `--pyi_out=${sources}`,
      `--grpc_python_out=${sources}`,
      ...SERVICES.map((name) => `gatehouse/${name}/v1/${name}.proto`),
    ],
    { timeout: STEP_MS_MAX },
  );
}

/** The hand-written part: a package beside the generated ones, with what the contract says of its methods. */
async function addClientKit(root: string, sources: string): Promise<void> {
  const kit = join(root, 'libs/client/python/gatehouse/client');
  const target = join(sources, 'gatehouse/client');
  await cp(kit, target, { recursive: true, filter: (file) => !file.endsWith('__pycache__') });
  await cp(join(root, 'libs/client/src/contract.json'), join(target, 'contract.json'));
  await writeFile(join(target, 'py.typed'), '');
}

function project(version: string): string {
  return `[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "gatehouse-stubs"
version = "${version}"
description = "Calls services of a Gatehouse mesh: stubs for grpcio, identities from files, deadlines from the contract"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.10"
dependencies = ["grpcio>=1.70", "protobuf>=6", "googleapis-common-protos>=1.65"]

[tool.setuptools.packages.find]
where = ["src"]
namespaces = true

[tool.setuptools.package-data]
"*" = ["*.pyi", "py.typed", "contract.json"]
`;
}

/** A Python with the builders, in a cache folder that pip fills the first time. */
async function builderPython(env: BuildOptions['env']): Promise<string> {
  const caches = env['XDG_CACHE_HOME'] || join(env['HOME'] || homedir(), '.cache');
  const folder = join(caches, 'gatehouse', `python-${BUILDERS[0]?.replaceAll('=', '') ?? ''}`);
  const python = join(folder, 'bin', 'python');
  const isThere = await access(python).then(
    () => true,
    () => false,
  );
  if (isThere) return python;
  await mkdir(join(folder, '..'), { recursive: true });
  const building = await mkdtemp(`${folder}.`);
  try {
    await run('python3', ['-m', 'venv', building], { timeout: STEP_MS_MAX });
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...BUILDERS];
    await run(join(building, 'bin', 'python'), pip, { timeout: STEP_MS_MAX });
    await rename(building, folder);
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  return python;
}
