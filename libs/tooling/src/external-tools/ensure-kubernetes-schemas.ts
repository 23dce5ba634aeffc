import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type EnsureToolOptions, ToolUnavailable } from './ensure-tool.ts';
import { onceInFolder, toolsDir } from './tool-cache.ts';

const run = promisify(execFile);

/** The API server's own description of its API, as it stands in Kubernetes' sources. */
const MODULE = 'k8s.io/kubernetes@v1.35.0';
const FILE = 'api/openapi-spec/swagger.json';
const SHA256 = '483500149ee52ce5753d75f5639101d985bb4f5e902cc05b1ba7627465d62446';
const DOWNLOAD_MS_MAX = 600_000;

/**
 * Makes sure that the schemas of Kubernetes 1.35 are in the tools folder, and takes them from the Go module of Kubernetes the
 * first time (35 MB; nothing is built).
 * @returns the path of the OpenAPI 2.0 document
 * @throws ToolUnavailable
 */
export async function ensureKubernetesSchemas({ env, onProgress }: EnsureToolOptions): Promise<string> {
  const name = `kubernetes-schemas-${SHA256.slice(0, 12)}`;
  const folder = await onceInFolder(toolsDir(env), name, async (temporary) => {
    onProgress?.(`downloading the schemas of ${MODULE}, once`);
    // Outside of any module, so that no go.mod is read or changed.
    const options = { cwd: temporary, env: { ...env, GOFLAGS: '' }, timeout: DOWNLOAD_MS_MAX };
    const { stdout } = await run('go', ['mod', 'download', '-json', MODULE], options);
    const { Dir: dir } = JSON.parse(stdout) as { readonly Dir: string };
    const schemas = await readFile(join(dir, FILE));
    const found = createHash('sha256').update(schemas).digest('hex');
    if (found !== SHA256) {
      throw new ToolUnavailable(
        `the schemas of ${MODULE} are refused: their SHA-256 is ${found}, expected ${SHA256}.`,
      );
    }
    await writeFile(join(temporary, 'swagger.json'), schemas);
  }).catch((error: unknown) => {
    if (error instanceof ToolUnavailable) throw error;
    const why = error instanceof Error ? error.message.trim().split('\n').at(-1) : String(error);
    throw new ToolUnavailable(
      `the schemas of Kubernetes cannot be had (${why}); the first run needs Go and the Go module proxy.`,
    );
  });
  return join(folder, 'swagger.json');
}
