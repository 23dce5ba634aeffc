// What redaction costs a stream: `node sidecar/bench/detectors.ts`. Prints microseconds per message of about five characters and the
// ratio to a window without detectors, by detector.
import { builtInDetectors, compileDetectors } from '../src/protect/detectors/compile-detectors.ts';
import { PlaceholderBook } from '../src/protect/placeholder-book.ts';
import { createRedactor, type Redactor } from '../src/protect/redactor.ts';

const ROUNDS = 150;
const TOKENS_PER_STREAM = 400;
const STREAMS_PER_ROUND = 4;

const PROSE =
  'Payments move through several systems before they settle, and each of them keeps its own record of what happened. ' +
  'When 3 of 14 services disagree, an engineer compares their logs for 2026-11-22 and finds where a message was lost; ' +
  'the answer is often in a retry that nobody saw. It helps to have one identifier per call, written by all of them. ';
const NUMBERS =
  'Order 1042-77 of 22.11.2026: 3 items at 19.99, total 59.97, id 7b1e2f, card 4111 1111 1111 1111, call 415-555-2671. ';

const CUSTOM = [
  { name: 'EMPLOYEE', pattern: '\\bEMP-[0-9]{6}\\b' },
  {
    name: 'CODE_NAMES',
    words: Array.from({ length: 1000 }, (_, index) => `project ${(index * 7919).toString(36)}x`),
  },
];

/** Pieces of about five characters, most of which begin with a space, as a model's do. */
function tokensOf(text: string, count: number): readonly string[] {
  const tokens = text.match(/\s?[^\s]{1,5}|\s/g) ?? [];
  return Array.from({ length: count }, (_, index) => tokens[index % tokens.length] ?? '');
}

/** Microseconds per message. */
function timeOf(redactor: Redactor, tokens: readonly string[]): number {
  const start = performance.now();
  let characters = 0;
  for (let stream = 0; stream < STREAMS_PER_ROUND; stream++) {
    const window = redactor.window(new PlaceholderBook());
    for (const token of tokens) {
      const result = window.push(token);
      if ('text' in result) characters += result.text.length;
    }
    window.end();
  }
  if (characters === 0) throw new Error('nothing came out');
  return ((performance.now() - start) * 1000) / (STREAMS_PER_ROUND * tokens.length);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function redactorOf(names: readonly string[]): Redactor {
  const compiled = compileDetectors(names, CUSTOM);
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  return createRedactor([{ detectors: [...compiled.detectors.values()], action: 'redact' }]);
}

const all = [...builtInDetectors, ...CUSTOM.map(({ name }) => name)];
const candidates = [
  { name: 'none', redactor: redactorOf([]) },
  ...all.map((name) => ({ name, redactor: redactorOf([name]) })),
  { name: 'all built in', redactor: redactorOf(builtInDetectors) },
  { name: 'all of them', redactor: redactorOf(all) },
];
const texts = { prose: tokensOf(PROSE, TOKENS_PER_STREAM), numbers: tokensOf(NUMBERS, TOKENS_PER_STREAM) };
const times = new Map<string, number[]>();
for (let round = 0; round < ROUNDS; round++) {
  for (const { name, redactor } of candidates) {
    for (const [kind, tokens] of Object.entries(texts)) {
      const key = `${name} ${kind}`;
      times.set(key, [...(times.get(key) ?? []), timeOf(redactor, tokens)]);
    }
  }
}

/** Rounds are short, for another process to fall into few of them; the first third warms up. */
const timed = (key: string) => median((times.get(key) ?? []).slice(ROUNDS / 3));
console.log('| detectors | prose µs/message | ratio | numbers µs/message | ratio |');
console.log('| --- | ---: | ---: | ---: | ---: |');
for (const { name } of candidates) {
  const cells = Object.keys(texts).flatMap((kind) => {
    const time = timed(`${name} ${kind}`);
    return [time.toFixed(2), (time / timed(`none ${kind}`)).toFixed(1)];
  });
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
