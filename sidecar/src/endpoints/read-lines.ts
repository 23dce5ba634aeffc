import type { Readable } from 'node:stream';

/**
 * The lines of a stream, without the empty ones.
 * @throws RangeError when a line is longer than `lineBytesMax`
 */
export async function* readLines(stream: Readable, lineBytesMax: number): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of stream.setEncoding('utf8')) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > lineBytesMax) throw new RangeError(`a line is longer than ${lineBytesMax} bytes`);
    for (const line of lines) if (line !== '') yield line;
  }
}
