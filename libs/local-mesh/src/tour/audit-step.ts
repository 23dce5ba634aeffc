import { cp, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TourContext } from './tour-context.ts';

/** What the inference sidecar has recorded so far is whole; with one byte changed it no longer is, and the place is told. */
export async function tourAudit({ mesh, screen, verifyAudit }: TourContext): Promise<void> {
  const { colors } = screen;
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-audit-'));
  try {
    await cp(mesh.auditDirs.inference, folder, { recursive: true });
    screen.line(colors.dim('  gatehouse audit verify, on a copy of what the inference sidecar recorded:'));
    if (!(await verifyAudit(folder))) throw new Error('the chain is not whole');
    screen.line(colors.dim(`  one byte is changed in ${await changeOneByte(folder)}:`));
    if (await verifyAudit(folder)) throw new Error('the changed byte was not found');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @returns where */
async function changeOneByte(folder: string): Promise<string> {
  const [segment] = (await readdir(folder)).filter((name) => name.startsWith('segment-')).toSorted();
  if (segment === undefined) throw new Error('nothing was recorded');
  const file = await open(join(folder, segment), 'r+');
  try {
    const { size } = await file.stat();
    const offset = Math.floor(size / 2);
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, offset);
    byte[0] = (byte[0] as number) ^ 1;
    await file.write(byte, 0, 1, offset);
    return `${segment}, offset ${offset}`;
  } finally {
    await file.close();
  }
}
