import { RE2JS } from 're2js';

/** What one instruction of a compiled expression does: those of RE2 and Go's regexp/syntax, with the numbers that re2js gives them. */
export const OP = {
  alternative: 1,
  alternativeMatch: 2,
  capture: 3,
  emptyWidth: 4,
  fail: 5,
  match: 6,
  nothing: 7,
  rune: 8,
  oneRune: 9,
  anyRune: 10,
  anyRuneNotNewline: 11,
} as const;

/** What an empty-width instruction asks for, as bits of its argument. */
export const EMPTY = {
  beginLine: 0x01,
  endLine: 0x02,
  beginText: 0x04,
  endText: 0x08,
  wordBoundary: 0x10,
  noWordBoundary: 0x20,
} as const;

export interface Instruction {
  readonly op: number;
  readonly out: number;
  readonly arg: number;
  readonly runes: Int32Array;
  matchRune(rune: number): boolean;
}

export interface ExpressionProgram {
  readonly instructions: readonly Instruction[];
  readonly start: number;
}

/** Steps that one character may take: instructions of an expression. */
const INSTRUCTIONS_MAX = 2000;

/** Parses and compiles an expression in RE2's syntax; a string says what is wrong with it. */
export function compileExpression(pattern: string): ExpressionProgram | string {
  let program: { readonly inst: readonly Instruction[]; readonly start: number };
  try {
    // Its own matcher can't be asked whether more text may still make a match, which a stream has to know.
    program = RE2JS.compile(pattern).re2().prog as typeof program;
  } catch (error) {
    return error instanceof Error ? error.message : 'not an expression';
  }
  const { inst: instructions, start } = program;
  if (instructions.length > INSTRUCTIONS_MAX) {
    return `compiles to ${instructions.length} instructions, at most ${INSTRUCTIONS_MAX} are taken`;
  }
  const known = new Set<number>(Object.values(OP));
  if (instructions.some(({ op }) => !known.has(op)))
    return 'looks behind itself, which takes more than linear time';
  return { instructions, start };
}
