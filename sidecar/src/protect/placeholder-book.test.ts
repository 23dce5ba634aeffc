import { describe, expect, it } from 'vitest';
import { PlaceholderBook } from './placeholder-book.ts';

describe('the placeholders of a call', () => {
  it('are numbered by detector, a value keeps its number', () => {
    const book = new PlaceholderBook();
    expect(['a', 'b', 'a'].map((value) => book.placeholder('CARD', value))).toEqual([
      '[CARD_1]',
      '[CARD_2]',
      '[CARD_1]',
    ]);
    expect(book.placeholder('IBAN', 'a')).toBe('[IBAN_1]');
  });

  it('tell long values apart', () => {
    const book = new PlaceholderBook();
    const long = 'x'.repeat(10_000);
    expect(
      [`${long}1`, `${long}2`, `${long}1`].map((value) => book.placeholder('PRIVATE_KEY', value)),
    ).toEqual(['[PRIVATE_KEY_1]', '[PRIVATE_KEY_2]', '[PRIVATE_KEY_1]']);
  });

  it('have no number once a thousand values have one', () => {
    const book = new PlaceholderBook();
    for (let value = 1; value <= 1000; value++) book.placeholder('EMAIL', String(value));
    expect(book.placeholder('EMAIL', 'another')).toBe('[EMAIL]');
    expect(book.placeholder('EMAIL', '1000')).toBe('[EMAIL_1000]');
  });
});
