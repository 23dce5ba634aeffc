import type { TextLeaf } from '@gatehouse/contracts';

/** What tells a text apart from others in its stream: values by the names of the fields with the role of a key. */
export type TextKeys = ReadonlyMap<string, string>;

const NO_KEYS: TextKeys = new Map();

/**
 * The keys of a text: those that stand in its message or in one around it; of no text in particular: all there are. Of
 * several with one name the last holds.
 */
export function keysOf(text: TextLeaf | null, leaves: readonly TextLeaf[], buffer: Buffer): TextKeys {
  let keys: Map<string, string> | null = null;
  for (const leaf of leaves) {
    const { step } = leaf;
    const isKey = step.kind === 'key' || (step.kind === 'text' && step.role === 'key');
    if (!isKey || (text !== null && !isAround(leaf, text))) continue;
    keys ??= new Map();
    keys.set(
      step.name,
      step.kind === 'key' ? `${leaf.high} ${leaf.low}` : buffer.toString('latin1', leaf.start, leaf.end),
    );
  }
  return keys ?? NO_KEYS;
}

/** Whether a message with these keys is about a text with those: they agree in all that both have. Without keys it is about all. */
export function isAbout(message: TextKeys, text: TextKeys): boolean {
  for (const [name, value] of message) {
    const other = text.get(name);
    if (other !== undefined && other !== value) return false;
  }
  return true;
}

function isAround(key: TextLeaf, text: TextLeaf): boolean {
  for (let node: TextLeaf['node'] | null = text.node; node !== null; node = node.parent)
    if (node === key.node) return true;
  return false;
}
