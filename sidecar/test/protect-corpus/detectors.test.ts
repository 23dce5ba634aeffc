import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type Detector, NONE } from '../../src/protect/detectors/detector.ts';
import { startsOf } from '../../src/protect/detectors/starts.ts';
import { createRedactor } from '../../src/protect/redactor.ts';
import { makeCorpus, SECRET_KINDS } from './corpus.ts';
import { measureDetectors } from './measure-detectors.ts';
import { Random } from './random.ts';
import { splitTexts } from './split-texts.ts';

const SEED = 20261122;
const RECALL_MIN = 0.99;
const PRECISION_MIN = 0.95;
/** In a process of its own, without what the test runner adds to every call; `--splits 1000000` makes a million. */
const SPLITS = 200_000;
const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
const run = promisify(execFile);

describe('on a generated corpus with hard negatives', () => {
  const scores = measureDetectors(makeCorpus({ seed: SEED, each: 400 }));

  it('every kind of secret has a detector', () => {
    expect(scores.map(({ detector }) => detector).toSorted()).toEqual(SECRET_KINDS.toSorted());
  });

  it.each(scores)(
    '$detector finds at least 99 % and is right in at least 95 %',
    ({ recall, precision, secrets }) => {
      expect(secrets).toBe(400);
      expect(recall).toBeGreaterThanOrEqual(RECALL_MIN);
      expect(precision).toBeGreaterThanOrEqual(PRECISION_MIN);
    },
  );
});

it('a secret that is cut at any places is caught, and what comes out is the redaction of the whole', async () => {
  const { stdout } = await run(process.execPath, [
    MAIN,
    '--splits',
    String(SPLITS),
    '--each',
    '150',
    '--seed',
    String(SEED),
  ]);
  expect(stdout).toContain(`${SPLITS} splits`);
  expect(stdout).toContain(' 0 failures, 0 leaks');
}, 240_000);

it('and a detector that decides before it has seen enough would be found out', () => {
  const hasty: Detector = {
    name: 'HASTY',
    charactersMax: 8,
    starts: startsOf('E'),
    match: (text, at) => (text.startsWith('EMP-', at) ? at + 4 : NONE),
  };
  const corpus = makeCorpus({ seed: SEED, each: 20 }).filter(({ about }) => about === 'EMPLOYEE');
  const redactor = createRedactor([{ detectors: [hasty], action: 'redact' }]);
  expect(splitTexts(corpus, { random: new Random(SEED), splits: 1000, redactor }).failures).not.toEqual([]);
});
