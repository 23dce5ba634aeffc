import { describe, expect, it } from 'vitest';
import { PlaceholderBook } from '../placeholder-book.ts';
import { createRedactor } from '../redactor.ts';
import { builtInDetectors, type CustomDetectorSpec, compileDetectors } from './compile-detectors.ts';

function redact(spec: CustomDetectorSpec, text: string): string {
  const compiled = compileDetectors([spec.name], [spec]);
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  const result = createRedactor([{ detectors: [...compiled.detectors.values()], action: 'redact' }]).whole(
    text,
    new PlaceholderBook(),
  );
  return 'text' in result ? result.text : `refused: ${result.refused}`;
}

describe('detectors of a policy', () => {
  it('are the ones that are named, built in or its own', () => {
    const compiled = compileDetectors(
      ['CARD', 'PROJECT'],
      [
        { name: 'PROJECT', pattern: 'PRJ-[0-9]+' },
        { name: 'UNUSED', words: ['x'] },
      ],
    );
    expect('detectors' in compiled && [...compiled.detectors.keys()]).toEqual(['CARD', 'PROJECT']);
  });

  it('have all that is wrong with them reported at once', () => {
    const compiled = compileDetectors(
      ['CARD', 'CARDS'],
      [
        { name: 'EMAIL', pattern: 'x' },
        { name: 'OPEN', pattern: 'x(' },
        { name: 'EMPTY' },
        { name: 'EMPTY', words: [] },
      ],
    );
    expect('problems' in compiled && compiled.problems).toEqual([
      { detector: 'EMAIL', problem: 'has the name of another detector' },
      { detector: 'OPEN', problem: expect.stringContaining('missing closing )') as unknown },
      { detector: 'EMPTY', problem: 'has neither a pattern nor words' },
      { detector: 'EMPTY', problem: 'has neither a pattern nor words' },
      { detector: 'CARDS', problem: `unknown: expected one of ${builtInDetectors.join(', ')}` },
    ]);
  });
});

describe('a dictionary', () => {
  const words = ['Blue Heron', 'Blue', 'Straße', '青鸟', "l'été", 'C++', 'Zephyr-9', '😀 party'];
  const spec = { name: 'WORD', words };

  it.each([
    ['the BLUE HERON lands', 'the [WORD_1] lands'],
    ['blue\nheron, blue', '[WORD_1], [WORD_2]'],
    ['bluebird, skyblue, blue_1', 'bluebird, skyblue, blue_1'],
    ['in der STRAßE', 'in der [WORD_1]'],
    ['关于青鸟的文件', '关于[WORD_1]的文件'],
    ["pendant L'ÉTÉ.", 'pendant [WORD_1].'],
    ['C++ and c+ +', '[WORD_1] and c+ +'],
    ['zephyr-9 zephyr-95', '[WORD_1] zephyr-95'],
    ['a 😀 PARTY', 'a [WORD_1]'],
  ])('finds whole words without regard to case: %j', (text, expected) => {
    expect(redact(spec, text)).toBe(expected);
  });
});
