import { execFile } from 'node:child_process';
import { cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensureTool } from '../external-tools/ensure-tool.ts';
import type { BuildOptions } from './build-options.ts';
import { NOT_FOR_STUBS, SERVICES } from './stub-sources.ts';

const run = promisify(execFile);

/** As the module's go.mod, which stands beside the hand-written part. */
const MODULE = 'gatehouse.dev/client';

/**
 * Generates Go stubs from the protos beside the client kit.
 * @returns the module's folder
 */
export async function buildGoModule({ root, out, env }: BuildOptions): Promise<string> {
  const onProgress = (line: string) => process.stderr.write(`  ${line}\n`);
  const plugins = await ensureTool('protoc-gen-go', { env, onProgress });
  const folder = join(out, 'gatehouse-client-go');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const plugin = (name: string) => ({
    local: join(plugins, name),
    out: folder,
    opt: 'paths=source_relative',
  });
  const template = JSON.stringify({
    version: 'v2',
    managed: {
      enabled: true,
      override: [
        { file_option: 'go_package_prefix', value: MODULE },
        {
          file_option: 'go_package',
          path: 'google/rpc',
          value: 'google.golang.org/genproto/googleapis/rpc/status',
        },
      ],
    },
    inputs: [
      {
        directory: root,
        paths: SERVICES.map((name) => join(root, `protos/gatehouse/${name}`)),
        exclude_types: NOT_FOR_STUBS,
      },
    ],
    plugins: [plugin('protoc-gen-go'), plugin('protoc-gen-go-grpc')],
  });
  await run(join(root, 'node_modules/.bin/buf'), ['generate', '--template', template], { cwd: root });
  await cp(join(root, 'libs/client/go'), folder, { recursive: true });
  await cp(join(root, 'libs/client/src/contract.json'), join(folder, 'contract.json'));
  await cp(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  return folder;
}
