import { type DocumentProblem, readDocument } from '@gatehouse/documents';
import { type SidecarConfig, sidecarConfigSchema } from './schema.ts';

/** Reads a sidecar's configuration file; every problem is reported. The result is frozen. */
export function parseConfig(
  text: string,
  fileName: string,
): { config: SidecarConfig } | { problems: readonly DocumentProblem[] } {
  const read = readDocument(sidecarConfigSchema, text, fileName);
  return 'problems' in read ? { problems: read.problems } : { config: deepFreeze(read.value) };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const part of Object.values(value)) deepFreeze(part);
    Object.freeze(value);
  }
  return value;
}
