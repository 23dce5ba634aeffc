import { expect, it } from 'vitest';
import { createScreen } from './screen.ts';
import { createTextWriter } from './text-writer.ts';

function written(columns: number, ...pieces: string[]): string {
  let text = '';
  const writer = createTextWriter(createScreen({ columns, write: (more) => (text += more) }), '  ');
  for (const piece of pieces) writer(piece);
  return text;
}

it('breaks lines between words and indents each', () => {
  expect(written(20, 'one two', ' three', ' four')).toBe('  one two\n  three four');
});

it('keeps a word together whose parts come in pieces, past the edge if it has begun before it', () => {
  expect(written(20, 'one two th', 'ree', 'four five')).toBe('  one two threefour\n  five');
});

it('keeps the line breaks of the text, with an indent', () => {
  expect(written(80, '\n1. one', '\n\n', '2. two \n')).toBe('  1. one\n\n  2. two');
});
