import { expect, test } from 'vitest';
import { StopFilter } from './stop-filter.ts';

/** Every way to cut a text into pieces. */
function* cuts(text: string): Generator<string[]> {
  for (let mask = 0; mask < 2 ** (text.length - 1); mask += 1) {
    const pieces = [''];
    text.split('').forEach((character, at) => {
      if (at > 0 && (mask >> (at - 1)) & 1) pieces.push('');
      pieces[pieces.length - 1] += character;
    });
    yield pieces;
  }
}

function filter(stops: string[], pieces: string[]): { text: string; stopped: boolean } {
  const stopFilter = new StopFilter(stops);
  let text = '';
  for (const piece of pieces) {
    const filtered = stopFilter.push(piece);
    text += filtered.text;
    if (filtered.stopped) return { text, stopped: true };
  }
  return { text: text + stopFilter.flush(), stopped: false };
}

test.each([
  ['abENDcd', ['END'], 'ab', true],
  ['aENENDx', ['END'], 'aEN', true],
  ['abEN', ['END'], 'abEN', false],
  ['aabaabaaa', ['aabaaa'], 'aab', true],
  ['a##b\n\nc', ['\n\n', '###'], 'a##b', true],
  ['xENDSTOP', ['STOP', 'END'], 'x', true],
  ['plain', [], 'plain', false],
])('lets nothing of a stop sequence through, however %j is cut', (text, stops, expected, stopped) => {
  for (const pieces of cuts(text)) expect(filter(stops, pieces)).toEqual({ text: expected, stopped });
});

test('holds back no more than could still become a stop sequence', () => {
  const stopFilter = new StopFilter(['</answer>']);
  expect(stopFilter.push('one two').text).toBe('one two');
  expect(stopFilter.push(' </ans').text).toBe(' ');
  expect(stopFilter.push('x').text).toBe('</ansx');
});
