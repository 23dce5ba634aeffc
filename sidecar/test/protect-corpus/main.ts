// Prints how well each detector does: `node sidecar/test/protect-corpus/main.ts [--seed N] [--each N] [--show DETECTOR]`; with
// `--splits N` cuts texts at random places as often, and fails where a window's output isn't the redaction of the whole.
import { parseArgs } from 'node:util';
import { makeCorpus } from './corpus.ts';
import { measureDetectors } from './measure-detectors.ts';
import { Random } from './random.ts';
import { splitTexts } from './split-texts.ts';

/** Longer texts are cut in no other way. */
const SPLIT_CHARACTERS_MAX = 120;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '20261122' },
    each: { type: 'string', default: '2000' },
    show: { type: 'string' },
    splits: { type: 'string' },
  },
});
const corpus = makeCorpus({ seed: Number(values.seed), each: Number(values.each) });
if (values.splits === undefined) score();
else cut(Number(values.splits));

function cut(splits: number): void {
  const texts = corpus.filter(({ text }) => text.length <= SPLIT_CHARACTERS_MAX);
  const { failures, pieces, leaks, heldMax } = splitTexts(texts, {
    random: new Random(Number(values.seed)),
    splits,
  });
  for (const failure of failures) console.log(failure);
  console.log(
    `seed ${values.seed}: ${splits} splits into ${pieces} pieces, ${failures.length} failures, ${leaks} leaks, at most ${heldMax} characters held`,
  );
  process.exitCode = failures.length + leaks > 0 ? 1 : 0;
}

function score(): void {
  console.log(`seed ${values.seed}, ${corpus.length} documents\n`);
  console.log('| detector | secrets | found | wrong | recall | precision |');
  console.log('| --- | ---: | ---: | ---: | ---: | ---: |');
  for (const { detector, secrets, found, wrong, recall, precision, missed, mistaken } of measureDetectors(
    corpus,
  )) {
    console.log(
      `| ${detector} | ${secrets} | ${found} | ${wrong} | ${recall.toFixed(4)} | ${precision.toFixed(4)} |`,
    );
    if (values.show !== detector) continue;
    for (const { text, secret } of missed.slice(0, 400)) {
      console.log(
        '  missed',
        JSON.stringify(text.slice(secret?.start, secret?.end)),
        'in',
        JSON.stringify(text.slice(0, 300)),
      );
    }
    for (const { document, match } of mistaken.slice(0, 400)) {
      console.log(
        '  mistook',
        JSON.stringify(match),
        'in',
        document.about,
        JSON.stringify(document.text.slice(0, 300)),
      );
    }
  }
}
