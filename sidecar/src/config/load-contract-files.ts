import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { type Contract, loadContract, type Overlay, parseOverlay } from '@gatehouse/contracts';

/** Gatehouse's own contracts, and the classification of gRPC's standard services. */
const BUILT_IN = {
  standardServices: import.meta.resolve('@gatehouse/contracts/standard-services.binpb'),
  descriptorSet: import.meta.resolve('@gatehouse/contracts/descriptors.binpb'),
  overlay: import.meta.resolve('@gatehouse/contracts/overlays/standard.yaml'),
};

/**
 * Loads the contract that a sidecar enforces: a descriptor set and the overlays over it. The built-in overlay for health
 * checking and reflection comes first, so that a user's own may say otherwise; where a user's descriptor set lacks
 * these services, they are added, because probes and tools call them on every app.
 */
export async function loadContractFiles(files: {
  readonly descriptorSetFile?: string | undefined;
  readonly overlayFiles: readonly string[];
}): Promise<{ readonly contract: Contract } | { readonly problems: readonly string[] }> {
  const descriptorSetFile = files.descriptorSetFile ?? fileURLToPath(BUILT_IN.descriptorSet);
  const problems: string[] = [];
  const overlays: Overlay[] = [];
  for (const file of [fileURLToPath(BUILT_IN.overlay), ...files.overlayFiles]) {
    const text = await readOr(file, problems, (path) => readFile(path, 'utf8'));
    if (text === null) continue;
    const parsed = parseOverlay(text, file);
    if ('overlay' in parsed) overlays.push(parsed.overlay);
    else problems.push(...parsed.problems);
  }
  const descriptorSet = await readOr(descriptorSetFile, problems, (path) => readFile(path));
  if (descriptorSet === null || problems.length > 0) return { problems };
  const standard = await readFile(fileURLToPath(BUILT_IN.standardServices));
  const loaded = loadContract({ descriptorSet: withStandardServices(descriptorSet, standard), overlays });
  return 'problems' in loaded
    ? { problems: loaded.problems.map((problem) => `${descriptorSetFile}: ${problem}`) }
    : loaded;
}

/** Descriptor sets are joined by joining their bytes: a FileDescriptorSet is one repeated field. */
function withStandardServices(descriptorSet: Uint8Array, standard: Uint8Array): Uint8Array {
  const names = (bytes: Uint8Array): string[] => {
    try {
      return fromBinary(FileDescriptorSetSchema, bytes).file.map(({ name }) => name);
    } catch {
      return []; // loadContract says what is wrong with it.
    }
  };
  const known = new Set(names(descriptorSet));
  return names(standard).some((name) => known.has(name))
    ? descriptorSet
    : Buffer.concat([descriptorSet, standard]);
}

async function readOr<T>(
  file: string,
  problems: string[],
  read: (file: string) => Promise<T>,
): Promise<T | null> {
  try {
    return await read(file);
  } catch (error) {
    problems.push(`${file}: cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}
