import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleProgram, type Program } from './bundle-program.ts';
import { packBase } from './pack-base.ts';
import { packService } from './pack-service.ts';
import { writeSbom } from './sbom.ts';

type Recipe = {
  /** From the root. */
  readonly dockerfile: string;
  /** Fills the context with all but the Dockerfile. */
  readonly write: (root: string, out: string) => Promise<void>;
};

const bundled = (name: string, dockerfile: string, program: Program): Recipe => ({
  dockerfile,
  write: async (root, out) => {
    const present = await bundleProgram(root, program, join(out, 'app'));
    await writeSbom(root, { folder: program.folder, present, file: join(out, 'sbom', `${name}.cdx.json`) });
  },
});

const service = (name: string): Recipe => ({
  dockerfile: 'services/Dockerfile',
  write: async (root, out) => {
    const present = await packService(root, name, join(out, 'app'));
    const file = join(out, 'sbom', `${name}.cdx.json`);
    await writeSbom(root, { folder: `services/${name}`, present, file });
  },
});

const base = (python: boolean): Recipe => ({
  dockerfile: 'libs/tooling/src/images/Dockerfile.base',
  write: (root, out) => packBase(root, out, { python }),
});

/** Every image by its name. */
const RECIPES: Readonly<Record<string, Recipe>> = {
  base: base(false),
  'python-base': base(true),
  sidecar: bundled('sidecar', 'sidecar/Dockerfile', {
    folder: 'sidecar',
    entry: 'src/main.ts',
    contracts: true,
  }),
  inference: service('inference'),
  embeddings: service('embeddings'),
  orchestration: service('orchestration'),
  cli: bundled('cli', 'libs/cli/Dockerfile', {
    folder: 'libs/cli',
    entry: 'src/main.ts',
    contracts: true,
  }),
  models: bundled('models', 'libs/tooling/src/models/Dockerfile', {
    folder: 'libs/tooling',
    entry: 'src/models/main.ts',
    contracts: false,
  }),
};

export const IMAGE_NAMES = Object.keys(RECIPES);

/**
 * Writes all that an image is built from: its Dockerfile, its files, and the list of the packages in it.
 * @param name one of IMAGE_NAMES
 * @param out the folder to fill, which has to be empty or not there yet
 */
export async function writeContext(root: string, name: string, out: string): Promise<void> {
  const recipe = RECIPES[name];
  if (recipe === undefined)
    throw new Error(`there is no image ${name}; expected one of ${IMAGE_NAMES.join(', ')}`);
  await mkdir(out, { recursive: true });
  if ((await readdir(out)).length > 0) throw new Error(`${out} is not empty`);
  await recipe.write(root, out);
  await copyFile(join(root, recipe.dockerfile), join(out, 'Dockerfile'));
}
