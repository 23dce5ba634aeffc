import { posix } from 'node:path';
import type { Contract } from '@gatehouse/contracts';
import { type DocumentContent, type DocumentProblem, readDocument } from '@gatehouse/documents';
import { type IncludedInput, type PolicyInput, schemasOf } from './policy-schema.ts';

/** One file of a document, as text. */
export interface PolicyFile {
  readonly file: string;
  readonly text: string;
}

/** One file of a document, read. */
export interface DocumentSource {
  readonly file: string;
  /** Null: the text is not YAML. */
  readonly content: DocumentContent | null;
  /** Null: it does not fit the schema. */
  readonly value: IncludedInput | null;
  readonly problems: readonly DocumentProblem[];
}

export interface ReadSources {
  /** The document itself, where it fits the schema. */
  readonly main: PolicyInput | null;
  /** The document and what it includes, in the order in which they are named. */
  readonly sources: readonly DocumentSource[];
  /** Every file that was read or looked for. */
  readonly files: readonly PolicyFile[];
}

/** How many files lie between the document and one that it includes. */
const DEPTH_MAX = 8;
const FILES_MAX = 200;

export interface SourceOptions {
  readonly contract: Contract;
  /** Of the document; what it includes is relative to its folder. */
  readonly fileName: string;
  /** Gives the text of a file. Throws when it cannot be read. */
  readonly readFile: ((file: string) => string) | undefined;
}

/** Reads a document and all that it includes. Problems of the includes are problems of the file that names them. */
export function readSources(text: string, options: SourceOptions): ReadSources {
  const { contract, fileName } = options;
  const read = readDocument(schemasOf(contract).document, text, fileName);
  const reader = new IncludeReader(options);
  const isGood = 'value' in read;
  reader.take({ file: fileName, text }, read, [fileName]);
  return { main: isGood ? read.value : null, sources: reader.sources, files: reader.files };
}

type Read = ReturnType<typeof readDocument<IncludedInput>>;

class IncludeReader {
  readonly sources: DocumentSource[] = [];
  readonly files: PolicyFile[] = [];
  readonly #options: SourceOptions;
  /** By file: who includes it. */
  readonly #includedBy = new Map<string, string>();

  constructor(options: SourceOptions) {
    this.#options = options;
  }

  /** @param way the files that lead here, this one last */
  take(from: PolicyFile, read: Read, way: readonly string[]): void {
    this.files.push(from);
    const content = 'value' in read ? read : (read.content ?? null);
    const problems: DocumentProblem[] = 'problems' in read ? [...read.problems] : [];
    this.sources.push({ file: from.file, content, value: 'value' in read ? read.value : null, problems });
    for (const [index, name] of includesOf(content).entries()) {
      const expected = this.#include(name, way);
      if (content !== null && expected !== '')
        problems.push(content.problemAt(['includes', index], expected, name));
    }
  }

  /** @returns what is wrong with including it; empty when nothing is */
  #include(name: string, way: readonly string[]): string {
    const { contract, readFile } = this.#options;
    const by = way.at(-1) as string;
    const file = posix.join(posix.dirname(by), name);
    const before = this.#includedBy.get(file);
    if (way.includes(file)) return `expected no file that leads back here: ${[...way, file].join(' → ')}`;
    if (before !== undefined) return `expected each file once, and ${before} includes it already`;
    if (way.length > DEPTH_MAX) return `expected at most ${DEPTH_MAX} files one inside the other`;
    if (this.files.length >= FILES_MAX) return `expected at most ${FILES_MAX} files`;
    if (readFile === undefined) return 'expected no includes: a document alone was given';
    this.#includedBy.set(file, by);
    let text: string;
    try {
      text = readFile(file);
    } catch (error) {
      this.files.push({ file, text: '' });
      return `expected a file that can be read, and ${file} cannot (${(error as NodeJS.ErrnoException).code ?? 'failed'})`;
    }
    this.take({ file, text }, readDocument(schemasOf(contract).included, text, file), [...way, file]);
    return '';
  }
}

function includesOf(content: DocumentContent | null): string[] {
  const { includes } = (content?.input ?? {}) as { readonly includes?: unknown };
  if (!Array.isArray(includes)) return [];
  return includes.filter(
    (name): name is string => typeof name === 'string' && name !== '' && !name.startsWith('/'),
  );
}
