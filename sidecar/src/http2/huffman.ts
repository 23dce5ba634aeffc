/**
 * Huffman decoding of header strings (RFC 7541 §5.2, Appendix B), four bits a step.
 * The code is canonical: the lengths alone give every code word, in order of length and then of symbol.
 */
const END_OF_STRING = 256;

// Code lengths in bits of the symbols 0 to 255 and of END_OF_STRING.
// biome-ignore format: sixteen symbols a line, as the table is read
const CODE_BITS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];

// A step's result: the next state in bits 0 to 8, a decoded byte in bits 9 to 16, and two marks.
const NEXT = 0x1ff;
const BYTE_SHIFT = 9;
const EMITS = 1 << 17;
const FAILS = 1 << 18;

interface Branch {
  zero: Node | null;
  one: Node | null;
  state: number;
}
type Node = Branch | number;

const { steps, accepts } = buildTables();

/**
 * Decodes `source[start, end)` into `target` from 0.
 * @returns the bytes written, or -1 when the code is invalid: END_OF_STRING inside it, or padding that is longer
 *   than seven bits or not all ones. `target` must hold `2 * (end - start)` bytes, the most that can come out.
 */
export function huffmanDecode(source: Buffer, start: number, end: number, target: Buffer): number {
  let state = 0;
  let written = 0;
  for (let at = start; at < end; at++) {
    const byte = source[at] as number;
    let step = steps[state * 16 + (byte >> 4)] as number;
    if ((step & EMITS) !== 0) target[written++] = (step >> BYTE_SHIFT) & 0xff;
    if ((step & FAILS) !== 0) return -1;
    step = steps[(step & NEXT) * 16 + (byte & 15)] as number;
    if ((step & EMITS) !== 0) target[written++] = (step >> BYTE_SHIFT) & 0xff;
    if ((step & FAILS) !== 0) return -1;
    state = step & NEXT;
  }
  return accepts[state] === 1 ? written : -1;
}

function buildTables(): { steps: Int32Array; accepts: Uint8Array } {
  const branches: Branch[] = [];
  const root = newBranch(branches);
  const symbols = CODE_BITS.map((_, symbol) => symbol).sort(
    (a, b) => (CODE_BITS[a] as number) - (CODE_BITS[b] as number) || a - b,
  );
  let code = 0;
  let bits = 0;
  for (const symbol of symbols) {
    const length = CODE_BITS[symbol] as number;
    code = bits === 0 ? 0 : (code + 1) * 2 ** (length - bits);
    bits = length;
    plant(branches, root, symbol, code, length);
  }
  const table = new Int32Array(branches.length * 16);
  for (const branch of branches) {
    for (let nibble = 0; nibble < 16; nibble++)
      table[branch.state * 16 + nibble] = walk(root, branch, nibble);
  }
  return { steps: table, accepts: paddingStates(root, branches.length) };
}

function newBranch(branches: Branch[]): Branch {
  const branch: Branch = { zero: null, one: null, state: branches.length };
  branches.push(branch);
  return branch;
}

function plant(branches: Branch[], root: Branch, symbol: number, code: number, length: number): void {
  let at = root;
  for (let bit = length - 1; bit > 0; bit--) {
    const side = ((code >>> bit) & 1) === 1 ? 'one' : 'zero';
    const next = at[side] ?? newBranch(branches);
    if (typeof next === 'number') throw new Error('the Huffman code is not prefix-free');
    at[side] = next;
    at = next;
  }
  at[(code & 1) === 1 ? 'one' : 'zero'] = symbol;
}

function walk(root: Branch, from: Branch, nibble: number): number {
  let at = from;
  let emitted = -1;
  for (let bit = 3; bit >= 0; bit--) {
    const next = ((nibble >> bit) & 1) === 1 ? at.one : at.zero;
    if (next === null || next === END_OF_STRING) return FAILS;
    if (typeof next === 'number') {
      emitted = next;
      at = root;
    } else {
      at = next;
    }
  }
  return emitted < 0 ? at.state : at.state | (emitted << BYTE_SHIFT) | EMITS;
}

// A string may end between symbols, or after up to seven ones: the beginning of END_OF_STRING.
function paddingStates(root: Branch, count: number): Uint8Array {
  const states = new Uint8Array(count);
  let at: Node | null = root;
  for (let ones = 0; ones <= 7 && at !== null && typeof at !== 'number'; ones++) {
    states[at.state] = 1;
    at = at.one;
  }
  return states;
}
