import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

type ProfileNode = {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
};
type Profile = {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

/** Share of the CPU samples, of those in which the process was not idle. */
export type Share = { readonly name: string; readonly share: number };
export type ProfileSummary = { readonly byPlace: readonly Share[]; readonly byFunction: readonly Share[] };

const SOURCES = fileURLToPath(new URL('../../', import.meta.url));
const FUNCTIONS_MAX = 40;

/** Self time by source file (or what V8 calls it) and by function of the one profile that lies in `folder` (`node --cpu-prof`). */
export async function summariseProfile(folder: string, afterMs: number): Promise<ProfileSummary | null> {
  const file = (await readdir(folder)).find((name) => name.endsWith('.cpuprofile'));
  if (file === undefined) return null;
  const profile = JSON.parse(await readFile(join(folder, file), 'utf8')) as Profile;
  const byId = new Map(profile.nodes.map((node) => [node.id, node]));
  const places = new Map<string, number>();
  const functions = new Map<string, number>();
  let total = 0;
  let elapsedMicros = 0;
  profile.samples.forEach((id, index) => {
    const delta = profile.timeDeltas[index] ?? 0;
    elapsedMicros += delta;
    const frame = byId.get(id)?.callFrame;
    if (frame === undefined || frame.functionName === '(idle)' || elapsedMicros < afterMs * 1000) return;
    total += delta;
    const place = placeOf(frame.url, frame.functionName);
    places.set(place, (places.get(place) ?? 0) + delta);
    const name = `${frame.functionName || '(anonymous)'} ${place}:${frame.lineNumber + 1}`;
    functions.set(name, (functions.get(name) ?? 0) + delta);
  });
  const shares = (map: Map<string, number>): Share[] =>
    [...map].map(([name, micros]) => ({ name, share: micros / total })).toSorted((a, b) => b.share - a.share);
  return { byPlace: shares(places), byFunction: shares(functions).slice(0, FUNCTIONS_MAX) };
}

/** `(program)` is native code: system calls, OpenSSL, the event loop. */
function placeOf(url: string, functionName: string): string {
  if (url.startsWith('node:')) return url;
  if (url === '') return functionName.startsWith('(') ? functionName : 'native';
  const path = url.startsWith('file:') ? fileURLToPath(url) : url;
  const at = path.indexOf(SOURCES);
  return at >= 0
    ? path.slice(at + SOURCES.length).replace(/^src\//, '')
    : path.replace(/^.*\/(libs|node_modules)\//, '$1/');
}
