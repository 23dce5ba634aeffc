import { describe, expect, it } from 'vitest';
import { PlaceholderBook } from '../placeholder-book.ts';
import { createRedactor, type Redactor } from '../redactor.ts';
import { builtInDetectors, type CustomDetectorSpec, compileDetectors } from './compile-detectors.ts';
import { MORE, NONE } from './detector.ts';

const CHARACTERS = 1500;
/** Twice the text takes twice the steps, and hardly more; the square of it would be four times. */
const GROWTH_MAX = 2.5;

/** What each detector reads longest before it can say no, again and again. */
const ADVERSARIAL: Readonly<Record<string, readonly string[]>> = {
  CARD: ['4', '4 ', '4111-', '4111 1111 1111 111', 'aa 4111 1111 1111 1111 ', 'DE89 4111111111111111 '],
  IBAN: ['de89a ', 'd', 'DE89 3704 0044 0532 0130 0', 'MT84a'],
  US_SSN: ['123-45-', '1\u200b', '123-45-678', 'ssn 123456789'],
  EMAIL: ['a', 'a.', 'a@', 'a@a.', 'a+b=', 'a@b-', '@'],
  PHONE: ['+', '+1', '+1 ', '(1', '1 ', 'tel 1', '+4912345678 ', 'call call call '],
  API_KEY: ['key=', 'eyJ', 'eyJa.', 'sk-', 'a.', 'ghp_', 'token token ', 'key: aB3dE6gH9jK2mN5pQ8sT '],
  PRIVATE_KEY: [
    '-',
    '-----BEGIN ',
    '-----BEGIN PRIVATE KEY-----',
    '-----BEGIN PRIVATE KEY-----AAAAAAAAAAAAAAAA',
    '-----END',
  ],
  NESTED: ['a', 'aaaaaaaab', 'ab'],
  PHRASES: ['a ', 'a', 'a a b '],
};

const CUSTOM: readonly CustomDetectorSpec[] = [
  { name: 'NESTED', pattern: '(?:(?:a+)+)+x|(?:a|aa)*y|(?:.*.*)*z', charactersMax: 64 },
  { name: 'PHRASES', words: [`${'a '.repeat(60)}b`, `${'a'.repeat(200)}b`] },
];

function redactorOf(name: string): Redactor {
  const compiled = compileDetectors([name], CUSTOM);
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  return createRedactor([{ detectors: [...compiled.detectors.values()], action: 'redact' }]);
}

/**
 * Characters that are looked at, as the methods through which a text is read are told: deterministic, where time is not. Those that
 * look at more than one count as many as they may.
 */
function stepsOf(redactor: Redactor, text: string): number {
  let steps = 0;
  const count = (more: number) => {
    steps += more;
  };
  const restore = [
    watch(String.prototype, 'charCodeAt', () => count(1)),
    watch(String.prototype, 'codePointAt', () => count(1)),
    watch(String.prototype, 'charAt', () => count(1)),
    watch(String.prototype, 'slice', ([from = 0, to], whole) =>
      count(Number(to ?? whole.length) - Number(from)),
    ),
    watch(String.prototype, 'startsWith', ([prefix]) => count(String(prefix).length)),
    watch(String.prototype, 'indexOf', ([, from = 0], whole) => count(whole.length - Number(from))),
    watch(RegExp.prototype, 'test', ([input]) => count(String(input).length)),
    // What goes through a text match by match reads it once.
    watch(RegExp.prototype, 'exec', ([input], { lastIndex = 0 }) =>
      count(lastIndex === 0 ? String(input).length : 1),
    ),
  ];
  try {
    redactor.whole(text, new PlaceholderBook());
  } finally {
    for (const undo of restore) undo();
  }
  return steps;
}

/** A text, or an expression. */
interface Read {
  readonly length: number;
  readonly lastIndex?: number;
}

/** Tells of every call of a method, and gives back what ends that. */
function watch(
  prototype: object,
  name: string,
  tell: (parameters: readonly unknown[], whole: Read) => void,
): () => void {
  const original = Reflect.get(prototype, name) as (this: unknown, ...parameters: unknown[]) => unknown;
  const watched = function (this: Read, ...parameters: unknown[]): unknown {
    tell(parameters, this);
    return original.apply(this, parameters);
  };
  Reflect.set(prototype, name, watched);
  return () => {
    Reflect.set(prototype, name, original);
  };
}

/** How many times as many steps a text takes that is twice as long. */
function growth(redactor: Redactor, unit: string): number {
  const text = unit.repeat(Math.ceil(CHARACTERS / unit.length));
  return stepsOf(redactor, text + text) / stepsOf(redactor, text);
}

describe('no text takes a detector more than linear many steps', () => {
  it('and all detectors are tried', () => {
    const names = [...builtInDetectors, ...CUSTOM.map(({ name }) => name)];
    expect(Object.keys(ADVERSARIAL).toSorted()).toEqual(names.toSorted());
  });

  const cases = Object.entries(ADVERSARIAL).flatMap(([name, units]) => units.map((unit) => ({ name, unit })));
  it.each(cases)('$name on $unit, many times', ({ name, unit }) => {
    expect(growth(redactorOf(name), unit)).toBeLessThan(GROWTH_MAX);
  });

  it('as what takes the square of it would show', () => {
    const redactor = createRedactor([
      {
        detectors: [
          {
            name: 'SQUARE',
            charactersMax: 1,
            starts: { ascii: new Uint8Array(128).fill(1), beyondAscii: false, atWordStart: false },
            match: (text, at) => (text.slice(0, at).startsWith('b') ? MORE : NONE),
          },
        ],
        action: 'redact',
      },
    ]);
    expect(growth(redactor, 'a')).toBeGreaterThan(GROWTH_MAX);
  });
});
