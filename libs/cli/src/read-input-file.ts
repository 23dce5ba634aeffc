import { readFile } from 'node:fs/promises';
import { CommandError } from './command-error.ts';

/** Reads a file that was named on the command line or in a file from there. @throws CommandError when it cannot be read */
export async function readInputFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CommandError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
