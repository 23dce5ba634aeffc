import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Compiles one proto file, which may import our annotations, to a serialized FileDescriptorSet with its imports. */
export function buildDescriptors(proto: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-protos-'));
  try {
    writeFileSync(join(folder, 'buf.yaml'), 'version: v2\n');
    const annotations = 'gatehouse/policy/v1/annotations.proto';
    if (proto.includes(annotations)) cpSync(join(ROOT, 'protos', annotations), join(folder, annotations));
    writeFileSync(join(folder, 'test.proto'), proto);
    const buf = join(ROOT, 'node_modules/.bin/buf');
    return execFileSync(buf, ['build', folder, '--as-file-descriptor-set', '-o', '-'], {
      maxBuffer: 1 << 24,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
