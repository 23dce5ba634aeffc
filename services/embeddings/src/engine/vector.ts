/** Scales a vector to length 1, in place. A zero vector stays one. */
export function normalize(vector: Float32Array): void {
  let squares = 0;
  for (const value of vector) squares += value * value;
  if (squares === 0) return;
  const scale = 1 / Math.sqrt(squares);
  for (let at = 0; at < vector.length; at += 1) vector[at]! *= scale;
}

/** One signed byte per dimension: value ≈ scale × byte, the largest magnitude at ±127. */
export function toInt8(vector: Float32Array): { values: Int8Array; scale: number } {
  let largest = 0;
  for (const value of vector) largest = Math.max(largest, Math.abs(value));
  const scale = largest / 127;
  const values = new Int8Array(vector.length);
  if (scale > 0) for (const [at, value] of vector.entries()) values[at] = Math.round(value / scale);
  return { values, scale };
}
