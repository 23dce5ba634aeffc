import type { DocumentProblem } from '@gatehouse/documents';
import type { DocumentSource } from './document-source.ts';
import type { IncludedInput } from './policy-schema.ts';

export type SectionName = 'jwtIssuers' | 'rules' | 'limits' | 'detectors' | 'protections';

export type SectionEntry<Name extends SectionName> =
  NonNullable<IncludedInput[Name]> extends readonly (infer T)[] ? T : never;

/** An entry of a document's section, and where it stands. */
export interface Placed<T> {
  /** As it was written: it may not fit its schema unless `fits`. */
  readonly entry: T;
  readonly fits: boolean;
  readonly source: DocumentSource;
  readonly path: readonly [SectionName, number];
}

/** The entries of one section of all files, in their order. What is no mapping is left out. */
export function placedEntries<Name extends SectionName>(
  sources: readonly DocumentSource[],
  name: Name,
): Placed<SectionEntry<Name>>[] {
  return sources.flatMap((source) => {
    const section = ((source.value ?? source.content?.input ?? {}) as Record<string, unknown>)[name];
    if (!Array.isArray(section)) return [];
    const misfits = new Set(source.problems.map(({ key }) => entryKey(key)));
    return section.flatMap((entry: unknown, index): Placed<SectionEntry<Name>>[] =>
      typeof entry === 'object' && entry !== null
        ? [
            {
              entry: entry as SectionEntry<Name>,
              fits: !misfits.has(`${name}[${index}]`) && !misfits.has(name),
              source,
              path: [name, index],
            },
          ]
        : [],
    );
  });
}

/** Gathers problems by the place of entries. */
export class ProblemList {
  readonly found: DocumentProblem[] = [];

  /** @param path within the entry @param expected begins with `expected` */
  add(
    { source, path }: Placed<unknown>,
    within: readonly PropertyKey[],
    expected: string,
    found: unknown,
  ): void {
    const problem = source.content?.problemAt([...path, ...within], expected, found);
    if (problem !== undefined) this.found.push(problem);
  }
}

/** `file:line:column` of an entry, for problems of others that name it. */
export function placeText({ source, path }: Placed<unknown>): string {
  const { line = 1, column = 1 } = source.content?.placeOf(path) ?? {};
  return `${source.file}:${line}:${column}`;
}

/** `rules[3]` of `rules[3].identities[0]`; a whole section stands for itself. */
function entryKey(key: string): string {
  return /^\w+(\[\d+\])?/.exec(key)?.[0] ?? '';
}
