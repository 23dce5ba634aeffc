import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { rolldown } from 'rolldown';

/** What a bundle finds by package name at run time, by the name it has there. */
const CONTRACT_FILES = {
  'descriptors.binpb': 'libs/contracts/src/gen/descriptors.binpb',
  'standard-services.binpb': 'libs/contracts/src/gen/standard-services.binpb',
  'overlays/standard.yaml': 'libs/contracts/overlays/standard.yaml',
} as const;

export type Program = {
  /** The folder of its package, from the root. */
  readonly folder: string;
  /** Its entry, from its folder. */
  readonly entry: string;
  /** Whether it reads the contracts. */
  readonly contracts: boolean;
};

/**
 * Writes a program as JavaScript without a node_modules of others. What is imported late stays in files of its own, so that it
 * costs no memory before.
 * @param root of the repository, with its code generated
 * @param app the folder to fill
 * @returns the packages that code was taken from, as `name@version`
 */
export async function bundleProgram(root: string, program: Program, app: string): Promise<Set<string>> {
  const cwd = join(root, program.folder);
  const bundle = await rolldown({ input: { main: join(cwd, program.entry) }, cwd, platform: 'node' });
  const modules: string[] = [];
  try {
    const chunkFileNames = 'chunks/[name]-[hash].js';
    const { output } = await bundle.write({
      dir: app,
      format: 'esm',
      chunkFileNames,
      minify: true,
      charset: 'ascii',
    });
    for (const chunk of output) {
      if (chunk.type !== 'chunk') continue;
      modules.push(...chunk.moduleIds);
      await writeFile(join(app, chunk.fileName), asciiOnly(chunk.code));
    }
  } finally {
    await bundle.close();
  }
  await writeFile(join(app, 'package.json'), JSON.stringify({ type: 'module' }));
  await copyFile(join(root, 'LICENSE'), join(app, 'LICENSE'));
  if (program.contracts) await copyContracts(root, app);
  return packagesOf(modules);
}

/**
 * Node keeps a source in memory, at two bytes a character once a single one is not Latin-1. The bundler escapes them in code;
 * what is left stands in comments, which name authors.
 */
function asciiOnly(code: string): string {
  const escape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return code.replace(/[^\0-\x7f]/g, escape);
}

async function copyContracts(root: string, app: string): Promise<void> {
  const contracts = join(app, 'node_modules/@gatehouse/contracts');
  await mkdir(join(contracts, 'overlays'), { recursive: true });
  for (const [name, file] of Object.entries(CONTRACT_FILES))
    await copyFile(join(root, file), join(contracts, name));
  const exported = Object.fromEntries(Object.keys(CONTRACT_FILES).map((name) => [`./${name}`, `./${name}`]));
  await writeFile(join(contracts, 'package.json'), JSON.stringify({ type: 'module', exports: exported }));
}

async function packagesOf(modules: readonly string[]): Promise<Set<string>> {
  // The bundler's own modules have no path.
  const folders = new Set(modules.filter((id) => id.startsWith('/')).map((id) => dirname(id)));
  return new Set(await Promise.all([...folders].map(packageOf)));
}

/** The nearest package that has a name: folders of a package may have a manifest that only says how files are read. */
async function packageOf(folder: string): Promise<string> {
  const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => '{}');
  const { name, version } = JSON.parse(text) as { readonly name?: string; readonly version?: string };
  if (name !== undefined && version !== undefined) return `${name}@${version}`;
  if (dirname(folder) === folder) throw new Error('a module of the bundle is in no package');
  return packageOf(dirname(folder));
}
