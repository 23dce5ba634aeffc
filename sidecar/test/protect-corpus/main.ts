// Prints how well each detector does: `node sidecar/test/protect-corpus/main.ts [--seed N] [--each N] [--show DETECTOR]`.
import { parseArgs } from 'node:util';
import { makeCorpus } from './corpus.ts';
import { measureDetectors } from './measure-detectors.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '20261122' },
    each: { type: 'string', default: '2000' },
    show: { type: 'string' },
  },
});
const corpus = makeCorpus({ seed: Number(values.seed), each: Number(values.each) });
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
