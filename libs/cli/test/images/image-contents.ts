import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerEngine } from './container-engine.ts';

/** What an image says of itself, as far as tests read it. */
export type ImageConfig = {
  readonly Id: string;
  readonly Size: number;
  readonly User: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly Healthcheck?: { readonly Test: readonly string[] };
  readonly Config: { readonly Entrypoint: readonly string[] };
  readonly RootFS: { readonly Layers: readonly string[] };
};

export async function inspectImage(engine: ContainerEngine, reference: string): Promise<ImageConfig> {
  const { out } = await engine.podman('image', 'inspect', reference);
  const [config] = JSON.parse(out) as [ImageConfig];
  return config;
}

/** Bytes of all layers, unpacked. */
export async function imageBytes(engine: ContainerEngine, reference: string): Promise<number> {
  return (await inspectImage(engine, reference)).Size;
}

/** Lets `look` see the files of an image. @param look gets the folder that has them */
export async function withFiles<T>(
  engine: ContainerEngine,
  reference: string,
  look: (folder: string) => Promise<T>,
): Promise<T> {
  const { code, out, err } = await engine.podman('image', 'mount', reference);
  if (code !== 0) throw new Error(err);
  try {
    return await look(out.trim());
  } finally {
    await engine.podman('image', 'unmount', reference);
  }
}

/** The list of packages in an image. @param name of the list: the image's, or base */
export async function readSbom(folder: string, name: string): Promise<string> {
  return readFile(join(folder, 'usr/share/sbom', `${name}.cdx.json`), 'utf8');
}
