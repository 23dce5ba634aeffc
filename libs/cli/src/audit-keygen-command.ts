import { writeFile } from 'node:fs/promises';
import type { CommandContext } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';

/** `gatehouse audit keygen`: a key pair for signing checkpoints. A file that is there is never written over. */
export async function auditKeygenCommand(context: CommandContext, file: string): Promise<number> {
  const { generateSigningKey } = await import('@gatehouse/sidecar');
  const { privatePem, publicPem } = generateSigningKey();
  const publicFile = `${file}.pub`;
  await writeNew(file, privatePem, 0o600);
  await writeNew(publicFile, publicPem, 0o644);
  context.out.line(`${file}: signs checkpoints (audit.signingKeyFile of the sidecar)`);
  context.out.line(
    `${publicFile}: verifies them; keep it, and the checkpoints, where the sidecar cannot write`,
  );
  return EXIT.ok;
}

async function writeNew(file: string, content: string, mode: number): Promise<void> {
  try {
    await writeFile(file, content, { flag: 'wx', mode });
  } catch (error) {
    throw new CommandError(`${file} cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
}
